/* How children are made: programs in a session of their own, and workers that are this program going on with something else. */

#include "children.h"

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
