/* A child that becomes a program: whose it is, where it runs, what it has in its environment. */

#include "children.h"
#include "users.h"

#define ROOT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define USER_PATH "/usr/local/bin:/usr/bin:/bin"

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

_Noreturn void become_program(const struct command *command) {
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
