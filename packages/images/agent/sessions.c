/* Processes of the machine, as /proc shows them, and how a session of them ends. */

#include "sessions.h"

/* Rounds of killing what forks while it is being killed. */
#define KILL_ROUNDS 8

bool process_facts(long pid, s64 *parent, s64 *session, s64 *flags) {
  char path[64] = "/proc/", text[512];
  append_number(path, sizeof path, (u64)pid);
  append(path, sizeof path, "/stat");
  if (read_text(path, text, sizeof text) <= 0) return false;
  /* pid (name) state ppid pgrp session tty_nr tpgid flags ...; the name may hold anything. */
  const char *at = 0;
  for (const char *close = text; (close = find(close, ')')) != 0; close++) at = close;
  if (at == 0) return false;
  s64 *fields[] = {0, parent, 0, session, 0, 0, flags};
  for (size_t field = 0; field < COUNT(fields); field++) {
    at = find(at, ' ');
    if (at == 0) return false;
    at++;
    s64 number = 0;
    for (const char *digit = at; *digit >= '0' && *digit <= '9'; digit++) number = number * 10 + (*digit - '0');
    if (fields[field] != 0) *fields[field] = number;
  }
  return true;
}

void each_process(void (*take)(long pid, void *what), void *what) {
  u64 buffer[128];
  long folder = sys_open("/proc", O_RDONLY | O_DIRECTORY);
  if (folder < 0) return;
  long size;
  while ((size = sys_getdents(folder, buffer, sizeof buffer)) > 0)
    for (long at = 0; at < size;) {
      const struct name_in_folder *entry = (const void *)((u8 *)buffer + at);
      s64 pid = parse_number(entry->name, 1 << 30);
      if (pid > 0) take(pid, what);
      at += entry->size;
    }
  sys_close(folder);
}

struct kill_state {
  s64 session;
  bool has_killed;
};

static void kill_member(long pid, void *what) {
  struct kill_state *state = what;
  s64 parent, session, flags;
  if (pid == state->session || !process_facts(pid, &parent, &session, &flags) || session != state->session) return;
  if (sys_kill(pid, SIGKILL) == 0) state->has_killed = true;
}

void kill_session(int leader) {
  sys_kill(-leader, SIGKILL);
  for (int round = 0; round < KILL_ROUNDS; round++) {
    struct kill_state state = {leader, false};
    each_process(kill_member, &state);
    if (!state.has_killed) return;
  }
}
