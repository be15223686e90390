/*
 * The loop: waits for the port, the children and their pipes at once, and does whatever can be done without waiting.
 *
 *     no port --device news--> waiting for the host --it opens its end--> connected --either closes--> the port is closed and opened anew
 *
 * usage: ringfence-agent [--fd N]   with --fd, on an open socket instead of a port, until that ends
 */

#include <linux/eventpoll.h>
#include <linux/prctl.h>
#include <linux/signalfd.h>

#include "agent.h"

/* Where there are no device news, the port is looked for as often. */
#define LOOK_AGAIN_MS 1000

bool is_shutting_down;

static int port = -1;
/* Tells when the host opens its end; polling the port itself would return at once while it is closed. */
static int port_news = -1;
static bool is_connected;
static int device_news = -1;
static int signals = -1;
static bool is_socket;

void close_fds_of_agent(void) {
  close_fds_of_channels();
  if (port >= 0) sys_close(port);
  if (port_news >= 0) sys_close(port_news);
  if (device_news >= 0) sys_close(device_news);
  sys_close(signals);
}

static void watch_port(void) {
  port_news = (int)sys1(__NR_epoll_create1, EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET};
  if (port_news >= 0) sys4(__NR_epoll_ctl, port_news, EPOLL_CTL_ADD, port, &event);
}

static void find_port(void) {
  port = open_port();
  if (port < 0) {
    port = -1;
    return;
  }
  watch_port();
  /* Whether the host has opened its end shows when it is read. */
  is_connected = true;
}

/* The connection is over. The host hears of it by our closing the port. */
static void disconnect(void) {
  close_channels();
  frames_reset();
  if (port_news >= 0) sys_close(port_news);
  if (port >= 0) sys_close(port);
  port = port_news = -1;
  is_connected = false;
}

/* Reads what there is. A port without a host ends at once; it was no connection if nothing came before. */
static void listen(void) {
  static bool has_heard;
  for (int turn = 0; turn < 8 && out_room() >= LONGEST_WORD; turn++) {
    enum in_result result = in_read(port);
    if (result == IN_WAIT) return;
    if (result == IN_MORE) {
      has_heard = true;
      continue;
    }
    if (result == IN_ENDED && !has_heard && !is_socket) is_connected = false;
    else disconnect();
    has_heard = false;
    return;
  }
}

static void advance(void) {
  if (port >= 0 && is_connected) listen();
  if (port >= 0 && is_connected && !in_advance()) disconnect();
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++)
    if (channels[at].kind != FREE) channel_advance(&channels[at]);
  lingering_advance();
  if (port >= 0 && is_connected && !out_flush(port)) disconnect();
}

static bool has_children(void) {
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++)
    if (channels[at].kind != FREE) return true;
  return false;
}

static int milliseconds_until(s64 due) {
  s64 left = due - now_ms();
  return due < 0 ? -1 : left < 0 ? 0 : (int)left;
}

static void wait(void) {
  static struct pollfd fds[4 + MAXIMUM_CHANNELS * CHANNEL_FDS + MAXIMUM_LINGERING];
  size_t count = 0;
  s64 due = channels_due();
  fds[count++] = (struct pollfd){.fd = signals, .events = POLLIN};
  if (port < 0) {
    if (device_news >= 0) fds[count++] = (struct pollfd){.fd = device_news, .events = POLLIN};
    s64 again = now_ms() + (device_news >= 0 ? 60 * LOOK_AGAIN_MS : LOOK_AGAIN_MS);
    if (due < 0 || again < due) due = again;
  } else if (!is_connected) fds[count++] = (struct pollfd){.fd = port_news, .events = POLLIN};
  else {
    short events = (short)((out_room() >= LONGEST_WORD && !in_is_full() ? POLLIN : 0) | (out_is_empty() ? 0 : POLLOUT));
    fds[count++] = (struct pollfd){.fd = port, .events = events};
  }
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++) {
    count += channel_polls(&channels[at], fds + count);
    if (channel_is_urgent(&channels[at])) due = 0;
  }
  count += lingering_polls(fds + count);

  int left = milliseconds_until(due);
  struct __kernel_timespec timeout = {left / 1000, left % 1000 * 1000000L};
  sys_ppoll(fds, count, left < 0 ? 0 : &timeout);
}

/* News only say that it is time to look. */
static void drop_news(void) {
  static u8 dropped[4096];
  struct epoll_event event;
  if (device_news >= 0)
    while (sys_read(device_news, dropped, sizeof dropped) > 0);
  if (port_news >= 0 && !is_connected)
    is_connected = sys6(__NR_epoll_pwait, port_news, &event, 1, 0, 0, 8) > 0;
}

/* SIGCHLD: there may be children to wait for. SIGTERM: the machine stops the agent. */
static bool take_signals(void) {
  struct signalfd_siginfo info;
  bool goes_on = true;
  while (sys_read(signals, &info, sizeof info) == sizeof info)
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) goes_on = false;
  reap();
  return goes_on;
}

static void prepare(void) {
  /* No descriptor of ours has a number that a child needs. */
  long fd;
  while ((fd = sys_open("/dev/null", O_RDWR)) >= 0 || (fd = sys1(__NR_epoll_create1, EPOLL_CLOEXEC)) >= 0)
    if (fd > REPORT_FD) {
      sys_close(fd);
      break;
    }
  /* Whatever started us may have had signals ignored; what we start has them as they are by default. */
  u64 action[8] = {0};
  for (int signal = 1; signal <= 64; signal++) sys4(__NR_rt_sigaction, signal, action, 0, 8);
  u64 mask = 1ul << (SIGCHLD - 1) | 1ul << (SIGTERM - 1) | 1ul << (SIGINT - 1);
  signals = (int)sys4(__NR_signalfd4, -1, &mask, 8, O_CLOEXEC | O_NONBLOCK);
  u64 blocked = mask | 1ul << (SIGPIPE - 1) | 1ul << (SIGHUP - 1);
  sys4(__NR_rt_sigprocmask, SIG_SETMASK, &blocked, 0, 8);
  sys_prctl(PR_SET_CHILD_SUBREAPER, 1);
  sys_umask(022);
}

int agent(int argument_count, char **arguments) {
  if (argument_count == 3 && strcmp(arguments[1], "--fd") == 0) {
    s64 fd = parse_number(arguments[2], 1 << 20);
    port = (int)sys_fcntl(fd, F_DUPFD_CLOEXEC, 16);
    if (port < 0) return 2;
    sys_close(fd);
    sys_fcntl(port, F_SETFL, O_RDWR | O_NONBLOCK);
    is_socket = is_connected = true;
  } else if (argument_count > 1) {
    static const char usage[] = "usage: ringfence-agent [--fd N]\n";
    sys_write(2, usage, sizeof usage - 1);
    return 2;
  }
  prepare();
  if (!is_socket) device_news = open_device_news();
  for (;;) {
    advance();
    if (port < 0 && !is_socket) find_port();
    if (is_socket && port < 0 && !has_children()) return 0;
    wait();
    drop_news();
    if (!take_signals()) {
      out_flush(port);
      return 0;
    }
  }
}

#ifdef HOSTED
__attribute__((weak)) int main(int argument_count, char **arguments) { return agent(argument_count, arguments); }
#else
__attribute__((used)) _Noreturn static void begin(const long *stack) {
  int code = agent((int)stack[0], (char **)(stack + 1));
  for (;;) sys_exit(code);
}

/* The stack holds the arguments; nothing else is promised. */
__asm__(
    ".globl _start\n"
    "_start:\n"
    ".option push\n"
    ".option norelax\n"
    "  lla gp, __global_pointer$\n"
    ".option pop\n"
    "  mv a0, sp\n"
    "  andi sp, sp, -16\n"
    "  tail begin\n");
#endif
