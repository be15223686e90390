// What the kernel does for programs: files, mappings, threads, timers, commands.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "wide.h"

void files(void) {
  enum { FILES = 100, PIECES = 40, TURNS = 15 };
  char path[256], piece[100];
  uint64_t sum = 0;
  double start = now();
  for (int turn = 0; turn < TURNS; turn++) {
    for (int i = 0; i < FILES; i++) {
      snprintf(path, sizeof path, "%s/wide-%d", scratch, i);
      int file = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
      if (file < 0) fail(path);
      for (int k = 0; k < PIECES; k++) {
        memset(piece, i + k + turn, sizeof piece);
        if (write(file, piece, sizeof piece) != sizeof piece) fail("write");
      }
      for (int k = 0; k < PIECES; k++) {
        if (pread(file, piece, sizeof piece, (k * 7 % PIECES) * (int)sizeof piece) != sizeof piece) fail("read");
        sum = mix(sum, (uint8_t)piece[k]);
      }
      if (ftruncate(file, 1000) || lseek(file, 0, SEEK_END) != 1000) fail("ftruncate");
      close(file);
    }
    for (int i = 0; i < FILES; i++) {
      snprintf(path, sizeof path, "%s/wide-%d", scratch, i);
      if (access(path, R_OK) || unlink(path)) fail("unlink");
    }
  }
  result("files", now() - start, sum);
}

void maps(void) {
  enum { TURNS = 12000, KEPT = 32, BYTES = 8 * 4096 };
  static uint8_t *kept[KEPT];
  uint64_t sum = 0;
  double start = now();
  for (int turn = 0; turn < TURNS; turn++) {
    uint8_t **slot = &kept[turn * 7 % KEPT];
    if (*slot != NULL) {
      sum = mix(sum, (*slot)[4096]);
      if (munmap(*slot, BYTES)) fail("munmap");
    }
    *slot = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*slot == MAP_FAILED) fail("mmap");
    (*slot)[0] = (*slot)[4096] = (uint8_t)turn;
    if (turn % 4 == 0 && mprotect(*slot, 4096, PROT_READ)) fail("mprotect");
    sum += (*slot)[0];
  }
  for (int i = 0; i < KEPT; i++)
    if (kept[i] != NULL) munmap(kept[i], BYTES);
  result("maps", now() - start, sum);
}

enum { THREAD_TURNS = 400000, HANDOVERS = 4000 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static uint64_t under_mutex, whose_turn;
static atomic_uint_fast64_t counted, largest;

static void *work(void *argument) {
  uint64_t me = (uint64_t)(uintptr_t)argument;
  for (uint64_t i = 0; i < THREAD_TURNS; i++) {
    atomic_fetch_add(&counted, i & 3);
    uint64_t seen = atomic_load(&largest);
    while (seen < i && !atomic_compare_exchange_weak(&largest, &seen, i)) continue;
    pthread_mutex_lock(&mutex);
    under_mutex += i;
    pthread_mutex_unlock(&mutex);
  }
  for (uint64_t i = 0; i < HANDOVERS; i++) {
    pthread_mutex_lock(&mutex);
    while (whose_turn % 2 != me) pthread_cond_wait(&turned, &mutex);
    whose_turn++;
    pthread_cond_signal(&turned);
    pthread_mutex_unlock(&mutex);
  }
  return NULL;
}

void threads(void) {
  pthread_t other;
  double start = now();
  if ((errno = pthread_create(&other, NULL, work, (void *)(uintptr_t)1)) != 0) fail("pthread_create");
  work(NULL);
  pthread_join(other, NULL);
  result("threads", now() - start, mix(mix(under_mutex, atomic_load(&counted)), atomic_load(&largest) + whose_turn));
}

static volatile sig_atomic_t ticks;
static void tick(int signal) {
  (void)signal;
  ticks++;
}

// The work is always the same; how many ticks fall on it is the machine's affair.
void timers(void) {
  struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
  struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  uint64_t sum = 0, seed = 13;
  sigaction(SIGALRM, &action, NULL);
  double start = now();
  if (setitimer(ITIMER_REAL, &every, NULL)) fail("setitimer");
  for (int i = 0; i < 80000000; i++) sum ^= draw(&seed);
  setitimer(ITIMER_REAL, &never, NULL);
  result("timers", now() - start, ticks > 0 ? sum : 0xbad);
}

void command(const char *name, char **words) {
  static uint8_t buffer[65536];
  int ends[2];
  uint64_t sum = 0;
  double start = now();
  if (pipe(ends)) fail("pipe");
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    execvp(words[0], words);
    _exit(127);
  }
  if (child < 0) fail("fork");
  close(ends[1]);
  for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    for (ssize_t i = 0; i < count; i++) sum = mix(sum, buffer[i]);
  int status = 0;
  waitpid(child, &status, 0);
  // A command that fails says so in the check, as wait(2) does.
  result(name, now() - start, status == 0 ? sum : (uint64_t)status);
}

// Lines of words and numbers, for the commands.
void write_words(const char *path, size_t bytes) {
  static const char *const words[] = {"river", "stone", "of", "the", "light", "under", "a", "window", "and", "seven",
                                      "birds", "over", "cold", "harbour", "north", "silence"};
  FILE *file = fopen(path, "w");
  if (file == NULL) fail(path);
  uint64_t seed = 14;
  size_t written = 0;
  while (written < bytes) {
    int length = fprintf(file, "%u", (unsigned)(draw(&seed) % 100000));
    for (uint64_t r = draw(&seed), count = 3 + (r & 7); count > 0; count--, r >>= 4)
      length += fprintf(file, " %s", words[r >> 4 & 15]);
    length += fprintf(file, "\n");
    written += (size_t)length;
  }
  if (fclose(file)) fail(path);
}
