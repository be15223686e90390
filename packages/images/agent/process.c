/* Children: programs in a session of their own, and workers that are this program going on with something else. */

#include "agent.h"
#include "users.h"

#define MAXIMUM_STRINGS 65536
#define ROOT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define USER_PATH "/usr/local/bin:/usr/bin:/bin"
/* Rounds of killing what forks while it is being killed. */
#define KILL_ROUNDS 8

/* What a child has to say. */

static void write_report(u8 kind, u8 stage, u16 error, u32 value, const char *about) {
  struct report report = {kind, stage, error, value, ""};
  size_t size = strlen(about);
  /* The end of a long path says more. */
  if (size >= ABOUT_BYTES) about += size - (ABOUT_BYTES - 1);
  copy_text(report.about, ABOUT_BYTES, about);
  sys_write(REPORT_FD, &report, sizeof report);
}

_Noreturn void fail(u8 stage, long error, const char *about) {
  write_report(REPORT_FAILED, stage, (u16)-error, 0, about);
  for (;;) sys_exit(127);
}

void report_started(u32 value) { write_report(REPORT_STARTED, 0, 0, value, ""); }

/* Requests. */

/* The next text of a request, or 0 when it does not end in it. */
static const char *next_text(const u8 **at, const u8 *end) {
  const char *text = (const char *)*at;
  for (; *at < end; ++*at)
    if (**at == 0) {
      ++*at;
      return text;
    }
  return 0;
}

bool parse_command(const u8 *request, size_t size, struct command *command) {
  if (size < EXEC_REQUEST_BYTES) return false;
  u16 flags = get16(request);
  const u8 *at = request + EXEC_REQUEST_BYTES, *end = request + size;
  *command = (struct command){
      .is_terminal = (flags & EXEC_FLAG_TERMINAL) != 0,
      .has_input = (flags & EXEC_FLAG_NO_INPUT) == 0,
      .columns = get16(request + 2),
      .rows = get16(request + 4),
      .argument_count = get32(request + 8),
      .variable_count = get32(request + 12),
  };
  command->user = next_text(&at, end);
  command->workdir = next_text(&at, end);
  command->strings = (const char *)at;
  if (command->workdir == 0 || command->argument_count == 0 || command->argument_count > MAXIMUM_STRINGS ||
      command->variable_count > MAXIMUM_STRINGS)
    return false;
  for (u32 count = command->argument_count + command->variable_count; count > 0; count--)
    if (next_text(&at, end) == 0) return false;
  return at == end;
}

bool parse_path_request(const u8 *request, size_t size, struct path_request *path) {
  if (size < 4) return false;
  const u8 *at = request + 4, *end = request + size;
  path->flags = get32(request);
  path->user = next_text(&at, end);
  path->path = next_text(&at, end);
  return path->path != 0 && at == end && path->path[0] == '/' && strlen(path->path) <= MAXIMUM_PATH_BYTES;
}

/* What becomes a program. */

struct environment {
  char **variables;
  u32 count;
};

/* A later value of a name takes the place of an earlier one. */
static void set_variable(struct environment *environment, char *variable) {
  size_t name = (size_t)(find(variable, '=') - variable) + 1;
  for (u32 at = 0; at < environment->count; at++)
    if (strncmp(environment->variables[at], variable, name) == 0) {
      environment->variables[at] = variable;
      return;
    }
  environment->variables[environment->count++] = variable;
}

static void set_pair(struct environment *environment, char *into, size_t room, const char *name, const char *value) {
  *into = 0;
  append(into, room, name);
  append(into, room, value);
  set_variable(environment, into);
}

/* Looks for the program as execvp(3) does; returns why it could not be run. */
static long run(const char *program, char **argv, struct environment *environment) {
  static char path[4096 + 256];
  if (find(program, '/') != 0) return sys_execve(program, argv, environment->variables);
  const char *folder = USER_PATH;
  for (u32 at = 0; at < environment->count; at++)
    if (strncmp(environment->variables[at], "PATH=", 5) == 0) folder = environment->variables[at] + 5;
  long error = -ENOENT;
  while (folder != 0) {
    const char *end = find(folder, ':');
    size_t size = end == 0 ? strlen(folder) : (size_t)(end - folder);
    if (size > 0 && size < 4096) {
      copy_text(path, size + 1, folder);
      append(path, sizeof path, "/");
      append(path, sizeof path, program);
      long result = sys_execve(path, argv, environment->variables);
      /* A file that may not be run says more than that there is none elsewhere. */
      if (result != -ENOENT && result != -ENOTDIR) error = result;
      if (result != -ENOENT && result != -ENOTDIR && result != -EACCES) break;
    }
    folder = end == 0 ? 0 : end + 1;
  }
  return error;
}

_Noreturn static void become_program(const struct command *command) {
  static struct user user;
  static char home[300], name[100], logname[100], shell[300];
  u8 stage;
  const char *about;

  long result = find_user(command->user, &user, &stage, &about);
  if (result < 0) fail(stage, result, about);
  if (command->is_terminal) {
    result = sys_ioctl(0, TIOCSCTTY, 0);
    if (result < 0) fail(STAGE_TERMINAL, result, "");
    sys_fchownat(0, "", user.uid, -1, AT_EMPTY_PATH);
  }
  /* A service manager may have spared the agent; what it runs is not spared. */
  long score = sys_open("/proc/self/oom_score_adj", O_WRONLY);
  if (score >= 0) {
    sys_write(score, "0", 1);
    sys_close(score);
  }
  result = become(&user);
  if (result < 0) fail(STAGE_USER, result, user.name);
  if (*command->workdir != 0) {
    result = sys_chdir(command->workdir);
    if (result < 0) fail(STAGE_WORKDIR, result, command->workdir);
  } else if (sys_chdir(user.home) < 0) sys_chdir("/");

  size_t pointers = (command->argument_count + command->variable_count + 16) * sizeof(char *);
  char **argv = pages(pointers);
  if (argv == 0) fail(STAGE_RESOURCES, -ENOMEM, "");
  char *text = (char *)command->strings;
  for (u32 at = 0; at < command->argument_count; at++, text += strlen(text) + 1) argv[at] = text;
  struct environment environment = {argv + command->argument_count + 1, 0};
  set_pair(&environment, home, sizeof home, "HOME=", user.home);
  set_pair(&environment, name, sizeof name, "USER=", user.name);
  set_pair(&environment, logname, sizeof logname, "LOGNAME=", user.name);
  set_pair(&environment, shell, sizeof shell, "SHELL=", user.shell);
  set_variable(&environment, (char *)(user.uid == 0 ? "PATH=" ROOT_PATH : "PATH=" USER_PATH));
  for (u32 at = 0; at < command->variable_count; at++, text += strlen(text) + 1)
    if (find(text, '=') != 0) set_variable(&environment, text);

  u64 no_signals = 0;
  sys4(__NR_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, 8);
  result = run(argv[0], argv, &environment);
  fail(STAGE_PROGRAM, result, argv[0]);
}

/* Pipes and terminals. */

/* What the child has as 0, 1, 2 and REPORT_FD, and our ends in the channel. */
struct ends {
  int child[4];
};

static void close_ends(struct ends *ends) {
  for (size_t at = 0; at < COUNT(ends->child); at++) {
    bool is_double = at > 0 && at < REPORT_FD && ends->child[at] == ends->child[0];
    if (ends->child[at] >= 0 && !is_double) sys_close(ends->child[at]);
  }
}

static long open_terminal(struct channel *channel, struct ends *ends, u16 columns, u16 rows) {
  channel->stage = STAGE_TERMINAL;
  long master = sys_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (master < 0) return master;
  channel->in = channel->out[0] = (int)master;
  int unlocked = 0;
  long result = sys_ioctl(master, TIOCSPTLCK, &unlocked);
  if (result < 0) return result;
  struct winsize size = {.ws_row = rows, .ws_col = columns};
  sys_ioctl(master, TIOCSWINSZ, &size);
  long slave = sys_ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return slave;
  ends->child[0] = ends->child[1] = ends->child[2] = (int)slave;
  return 0;
}

/* The agent has all of 0 to REPORT_FD open, so no end gets a number that a child needs. */
static long open_pipe(struct ends *ends, int child_fd, int *ours, bool is_input) {
  int both[2];
  long result = sys_pipe(both, 0);
  if (result < 0) return result;
  *ours = both[is_input ? 1 : 0];
  ends->child[child_fd] = both[is_input ? 0 : 1];
  return sys_fcntl(*ours, F_SETFL, (is_input ? O_WRONLY : O_RDONLY) | O_NONBLOCK);
}

static void take_ends(struct ends *ends) {
  for (int at = 0; at < (int)COUNT(ends->child); at++)
    if (ends->child[at] >= 0) sys_dup3(ends->child[at], at);
    else sys_close(at);
  sys_fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
}

/* Makes the pipes, forks; in the child returns 0. */
static long start(struct channel *channel, struct ends *ends) {
  channel->stage = STAGE_RESOURCES;
  long result = open_pipe(ends, REPORT_FD, &channel->report, false);
  if (result == 0) result = sys_fork();
  if (result == 0) {
    sys_setsid();
    take_ends(ends);
    return 0;
  }
  close_ends(ends);
  if (result > 0) channel->pid = (int)(channel->start_value = (u32)result);
  return result;
}

long start_process(struct channel *channel, const struct command *command) {
  struct ends ends = {{-1, -1, -1, -1}};
  channel->is_terminal = command->is_terminal;
  channel->stage = STAGE_RESOURCES;
  long result = 0;
  if (command->is_terminal) result = open_terminal(channel, &ends, command->columns, command->rows);
  else {
    if (command->has_input) result = open_pipe(&ends, 0, &channel->in, true);
    else ends.child[0] = (int)sys_open("/dev/null", O_RDONLY);
    for (int stream = 0; result == 0 && stream < 2; stream++)
      result = open_pipe(&ends, stream + 1, &channel->out[stream], false);
  }
  if (result < 0) {
    close_ends(&ends);
    return result;
  }
  result = start(channel, &ends);
  if (result == 0) become_program(command);
  return result < 0 ? result : 0;
}

long start_worker(struct channel *channel, void (*work)(const void *), const void *argument) {
  struct ends ends = {{-1, -1, -1, -1}};
  channel->stage = STAGE_RESOURCES;
  long result = open_pipe(&ends, 0, &channel->in, true);
  if (result == 0) result = open_pipe(&ends, 1, &channel->out[0], false);
  if (result < 0) {
    close_ends(&ends);
    return result;
  }
  result = start(channel, &ends);
  if (result != 0) return result < 0 ? result : 0;
  /* It goes on in this program, so nothing else closes what is the agent's: a pipe ends when nobody has it any more. */
  close_fds_of_agent();
  sys_close(2);
  work(argument);
  for (;;) sys_exit(0);
}

/* Sessions. */

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
