/* What concerns the whole machine: its clock, who it is, and its end. */

#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/sockios.h>
#include <linux/time.h>

#include "power.h"
#include "sessions.h"

/* systemd's signals for its first process (systemd(1), "Signals"): SIGRTMIN+4 and +5, SIGRTMIN being 34 in its C library. */
#define SYSTEMD_POWEROFF 38
#define SYSTEMD_REBOOT 39
/* How long programs may take to end by themselves. */
#define TERM_WAIT_MS 3000
#define LOOK_MS 20
/* How long another first process may take to end the machine when it is asked. */
#define INIT_WAIT_MS 15000
#define NS_PER_SECOND 1000000000L
#define PF_KTHREAD 0x00200000

s64 wall_ns(void) {
  struct __kernel_timespec now;
  sys_clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

long set_clock(s64 to_ns, u64 tolerance_ns, s64 *behind_ns, bool *was_set) {
  if (to_ns < 0) return -EINVAL;
  *behind_ns = (s64)((u64)to_ns - (u64)wall_ns());
  u64 distance = *behind_ns < 0 ? -(u64)*behind_ns : (u64)*behind_ns;
  *was_set = false;
  if (distance <= tolerance_ns) return 0;
#ifndef HOSTED
  struct __kernel_timespec to = {to_ns / NS_PER_SECOND, to_ns % NS_PER_SECOND};
  long result = sys2(__NR_clock_settime, CLOCK_REALTIME, &to);
  if (result < 0) return result;
#endif
  *was_set = true;
  return 0;
}

/* What is written is mixed in; only the second step makes the generator forget what it would have given (random(4)). */
static long reseed(const u8 *seed, size_t size) {
  long fd = sys_open("/dev/urandom", O_WRONLY);
  if (fd < 0) return fd;
  long result = write_all((int)fd, seed, size);
#ifndef HOSTED
  if (result == 0) result = sys_ioctl(fd, RNDRESEEDCRNG, 0);
  /* One that was never seeded has given nothing yet. */
  if (result == -ENODATA) result = 0;
#endif
  sys_close(fd);
  return result < 0 ? result : 0;
}

long set_identity(const u8 *name, size_t name_size, const u8 *seed, size_t seed_size) {
  if (name_size > MAXIMUM_HOSTNAME_BYTES || seed_size > MAXIMUM_SEED_BYTES) return -EINVAL;
#ifdef HOSTED
  (void)name;
#else
  if (name_size > 0) {
    long result = sys2(__NR_sethostname, name, name_size);
    if (result < 0) return result;
  }
#endif
  return seed_size > 0 ? reseed(seed, seed_size) : 0;
}

#define AF_UNIX 1
#define SOCK_DGRAM 2
#define ARPHRD_ETHER 1

/* struct ifreq of netdevice(7), whose header wants a C library: a name, and a number or a hardware address behind its family. */
struct card_request {
  char name[16];
  union {
    int number;
    struct {
      u16 family;
      u8 address[14];
    };
    u8 room[24];
  };
};

/* Any socket takes these (netdevice(7)); virtio's cards let their address be changed while they are up. */
long change_card(const u8 *from, const u8 *to) {
  long fd = sys_socket(AF_UNIX, SOCK_DGRAM);
  if (fd < 0) return fd;
  long result = -ENODEV;
  for (int number = 1; number <= MAXIMUM_CARD_NUMBER; number++) {
    struct card_request card = {.number = number};
    if (sys_ioctl(fd, SIOCGIFNAME, &card) < 0 || sys_ioctl(fd, SIOCGIFHWADDR, &card) < 0) continue;
    if (card.family != ARPHRD_ETHER || memcmp(card.address, from, CARD_ADDRESS_BYTES) != 0) continue;
#ifdef HOSTED
    (void)to;
    result = 0;
#else
    memcpy(card.address, to, CARD_ADDRESS_BYTES);
    result = sys_ioctl(fd, SIOCSIFHWADDR, &card);
#endif
    break;
  }
  sys_close(fd);
  return result < 0 ? result : 0;
}

/* As sd_booted(3) has it. */
bool has_systemd(void) {
  struct statx status;
  return sys_statx(AT_FDCWD, "/run/systemd/system", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status) == 0;
}

#ifdef HOSTED
long shut_down(u32 how) {
  (void)how;
  return 0;
}
#else
static void pause_ms(long milliseconds) {
  struct __kernel_timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  sys_ppoll(0, 0, &time);
}

/* The name under which the first process was started; a script's is that of its shell. */
static bool first_is_called(const char *name) {
  char text[256];
  if (read_text("/proc/1/cmdline", text, sizeof text) <= 0) return false;
  const char *last = text;
  for (const char *slash = text; (slash = find(slash, '/')) != 0; slash++) last = slash + 1;
  return strcmp(last, name) == 0;
}

struct survivors {
  long self;
  u32 count;
};

static void count_survivor(long pid, void *what) {
  struct survivors *survivors = what;
  s64 parent, session, flags;
  if (pid == 1 || pid == survivors->self || !process_facts(pid, &parent, &session, &flags)) return;
  if ((flags & PF_KTHREAD) == 0) survivors->count++;
}

static void end_programs(void) {
  sys_kill(-1, SIGTERM);
  sys_kill(-1, SIGCONT);
  for (s64 until = now_ms() + TERM_WAIT_MS; now_ms() < until; pause_ms(LOOK_MS)) {
    struct survivors survivors = {sys_getpid(), 0};
    each_process(count_survivor, &survivors);
    if (survivors.count == 0) break;
  }
  sys_kill(-1, SIGKILL);
}

/* Writes everything and leaves file systems as their next mount wants them: unmounted, or at least read-only. */
static void leave_file_systems(void) {
  static char mounts[64 << 10];
  sys0(__NR_sync);
  if (read_text("/proc/self/mounts", mounts, sizeof mounts) <= 0) return;
  /* From the last to the first: device, place, ... */
  for (char *end = mounts + strlen(mounts); end > mounts;) {
    char *line = end - 1;
    while (line > mounts && line[-1] != '\n') line--;
    end = line;
    char *place = (char *)find(line, ' ');
    if (place == 0) continue;
    char *after = (char *)find(++place, ' ');
    if (after == 0) continue;
    *after = 0;
    if (strncmp(line, "/dev/", 5) != 0) continue;
    if (sys2(__NR_umount2, place, 0) < 0)
      sys5(__NR_mount, 0, place, 0, 0x20 | 0x01 /* MS_REMOUNT, MS_RDONLY */, 0);
  }
  sys0(__NR_sync);
}

_Noreturn static void end_machine(u32 how) {
  if (first_is_called("init")) {
    char *argv[] = {how == SHUTDOWN_POWEROFF ? "/sbin/poweroff" : "/sbin/reboot", 0};
    char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", 0};
    if (sys_fork() == 0) {
      sys_execve(argv[0], argv, environment);
      sys_exit(127);
    }
    pause_ms(INIT_WAIT_MS);
  }
  end_programs();
  leave_file_systems();
  u32 command = how == SHUTDOWN_POWEROFF ? LINUX_REBOOT_CMD_POWER_OFF : LINUX_REBOOT_CMD_RESTART;
  sys4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command, 0);
  for (;;) sys_exit(1);
}

static bool is_shutting_down;

long shut_down(u32 how) {
  if (is_shutting_down) return -EALREADY;
  if (has_systemd()) return sys_kill(1, how == SHUTDOWN_POWEROFF ? SYSTEMD_POWEROFF : SYSTEMD_REBOOT);
  /* In a process of its own, for it outlives everything, the agent too. */
  long result = sys_fork();
  if (result == 0) {
    sys_setsid();
    close_fds_of_agent();
    end_machine(how);
  }
  is_shutting_down = result > 0;
  return result < 0 ? result : 0;
}
#endif
