/*
 * Answers each byte that comes over TCP, at the port that it is told, with the same; of many connections at once, of which some may be dead without having said
 * so: the oldest one goes. Without a C library: it is small enough to be handed to a shell.
 */

#define MOST 8
#define POLLIN 1

struct poll { int fd; short events, revents; };

static struct poll polls[MOST + 1];

static long call(long number, long a, long b, long c, long d, long e) {
  register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c, a3 __asm__("a3") = d, a4 __asm__("a4") = e,
                a7 __asm__("a7") = number;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7) : "memory");
  return a0;
}

__attribute__((noreturn)) void begin(long *stack) {
  int port = 0, one = 1;
  for (char *digit = (char *)stack[2]; stack[0] > 1 && *digit; digit++) port = port * 10 + *digit - '0';
  long server = call(198, 2, 1, 0, 0, 0); /* socket(AF_INET, SOCK_STREAM) */
  unsigned char address[16] = {2, 0, port >> 8, port};
  call(208, server, 1, 2, (long)&one, sizeof one); /* setsockopt(SO_REUSEADDR) */
  call(200, server, (long)address, sizeof address, 0, 0); /* bind */
  call(201, server, MOST, 0, 0, 0); /* listen */
  int count = 1;
  polls[0].fd = server;
  polls[0].events = POLLIN;
  for (;;) {
    call(73, (long)polls, count, 0, 0, 8); /* ppoll */
    for (int n = count - 1; n > 0; n--) {
      char bytes[64];
      if (!polls[n].revents) continue;
      long came = call(63, polls[n].fd, (long)bytes, sizeof bytes, 0, 0); /* read */
      if (came > 0) call(64, polls[n].fd, (long)bytes, came, 0, 0); /* write */
      else {
        call(57, polls[n].fd, 0, 0, 0, 0); /* close */
        for (count--; n < count; n++) polls[n] = polls[n + 1];
      }
    }
    if (!polls[0].revents) continue;
    long next = call(202, server, 0, 0, 0, 0); /* accept */
    if (next < 0) continue;
    call(208, next, 6, 1, (long)&one, sizeof one); /* setsockopt(TCP_NODELAY) */
    if (count > MOST) {
      call(57, polls[1].fd, 0, 0, 0, 0);
      for (count = 1; count < MOST; count++) polls[count] = polls[count + 1];
    }
    polls[count].fd = next;
    polls[count].events = POLLIN;
    polls[count++].revents = 0;
  }
}

__asm__(".globl _start\n_start: .option push\n.option norelax\nla gp, __global_pointer$\n.option pop\nmv a0, sp\nandi sp, sp, -16\ncall begin\n");
