// The compute loop that instructions per second are counted on: a mix as compilers make it (shifts, adds, a multiplication, a load and a
// store that hit the cache, branches of which one cannot be foreseen), in one process, without a system call. Prints RESULT as kern.c does.
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { TURNS = 20 * 1000 * 1000, CELLS = 1024 };

static uint32_t cell[CELLS];

int main(void) {
  struct timespec start, end;
  uint64_t x = 88172645463325252ull, sum = 0;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (long i = 0; i < TURNS; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    uint32_t *at = &cell[x % CELLS];
    if (x & 0x10000)
      *at += (uint32_t)i;
    else
      *at = *at * 2654435761u + 1;
    sum += *at;
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("RESULT loop_20M %.4f %llx\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9, (unsigned long long)sum);
  return 0;
}
