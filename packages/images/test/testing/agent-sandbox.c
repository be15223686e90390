/*
 * The agent in a folder that is all it sees, for frames that nobody has thought through: `sandbox FOLDER` runs it on descriptor 3. The
 * exit code is the agent's; 77 when this machine lets nobody make such a place.
 */

#define _GNU_SOURCE

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

int agent(int argument_count, char **arguments);
size_t lingering_polls(struct pollfd *fds);

static void limit(int resource, rlim_t value) {
  struct rlimit limits = {value, value};
  setrlimit(resource, &limits);
}

/* What it has open when it has nothing under way: its signals; something takes the place of its socket. */
#define MORE_OPEN_FILES 1
#define LEAKED 78

/* Pipes that programs which are still there hold open. */
static int left_behind(void) {
  struct pollfd fds[64];
  return (int)lingering_polls(fds);
}

static int open_files(void) {
  DIR *folder = opendir("/proc/self/fd");
  int count = 0;
  if (folder == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

int main(int argument_count, char **arguments) {
  if (argument_count != 2) return 2;
  /* Its processes are its own; the first of them takes all others along when it ends. */
  int spaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET;
  if (unshare(spaces) < 0 && unshare(spaces | CLONE_NEWUSER) < 0) return 77;
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(arguments[1]) < 0) return 77;
    mount("none", "/", 0, MS_REC | MS_PRIVATE, 0);
    mount("proc", "proc", "proc", 0, 0);
    if (chroot(".") < 0) return 77;
    limit(RLIMIT_FSIZE, 1 << 24);
    char *words[] = {"agent", "--fd", "3", 0};
    int before = open_files(), code = agent(3, words);
    return code == 0 && open_files() > before + MORE_OPEN_FILES + left_behind() ? LEAKED : code;
  }
  close(3);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
