/*
 * Loads a block device as a database or a copy does, past the guest's page cache (O_DIRECT, Linux AIO), for the benchmark of disks, and says
 * how many requests were done in how long, by its own clock.
 *
 *     disk DEVICE randread|randwrite|read|write BYTES DEPTH SECONDS
 *     disk DEVICE sync BYTES 1 SECONDS               (a write and fdatasync, one after the other)
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST_DEPTH 64

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

/* xorshift: the same places on every machine. */
static uint64_t state = 88172645463325252ull;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  const char *mode = argv[2];
  size_t bytes = strtoul(argv[3], NULL, 0);
  int depth = atoi(argv[4]);
  double seconds = atof(argv[5]);
  int writes = strcmp(mode, "randwrite") == 0 || strcmp(mode, "write") == 0 || strcmp(mode, "sync") == 0;
  int random = strncmp(mode, "rand", 4) == 0 || strcmp(mode, "sync") == 0;
  int device = open(argv[1], (writes ? O_RDWR : O_RDONLY) | O_DIRECT);
  uint64_t size = 0;
  if (device < 0 || depth < 1 || depth > MOST_DEPTH || ioctl(device, BLKGETSIZE64, &size) != 0) {
    perror(argv[1]);
    return 1;
  }
  uint64_t places = size / bytes, place = 0, done = 0;
  char *buffers;
  if (posix_memalign((void **)&buffers, 4096, bytes * depth) != 0) return 1;
  for (size_t at = 0; at < bytes * depth; at += 8) *(uint64_t *)(buffers + at) = next();
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, MOST_DEPTH, &context) != 0) {
    perror("io_setup");
    return 1;
  }
  struct iocb requests[MOST_DEPTH], *pointers[MOST_DEPTH];
  struct io_event events[MOST_DEPTH];
  int free_[MOST_DEPTH], free_count = depth, under_way = 0;
  for (int index = 0; index < depth; index++) free_[index] = index;
  double begin = now(), end = begin + seconds;
  while (now() < end || under_way > 0) {
    int count = 0;
    while (free_count > 0 && now() < end) {
      int index = free_[--free_count];
      uint64_t at = (random ? next() : place++) % places * bytes;
      memset(&requests[index], 0, sizeof requests[index]);
      requests[index].aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
      requests[index].aio_fildes = device;
      requests[index].aio_buf = (uint64_t)(uintptr_t)(buffers + index * bytes);
      requests[index].aio_nbytes = bytes;
      requests[index].aio_offset = at;
      requests[index].aio_data = index;
      pointers[count++] = &requests[index];
    }
    if (count > 0 && syscall(SYS_io_submit, context, count, pointers) != count) {
      perror("io_submit");
      return 1;
    }
    under_way += count;
    if (under_way == 0) break;
    int got = syscall(SYS_io_getevents, context, 1, MOST_DEPTH, events, NULL);
    for (int index = 0; index < got; index++) {
      if (events[index].res != (int64_t)bytes) {
        fprintf(stderr, "a request gave %lld\n", (long long)events[index].res);
        return 1;
      }
      free_[free_count++] = events[index].data;
      done++;
    }
    under_way -= got;
    if (strcmp(mode, "sync") == 0 && fdatasync(device) != 0) return 1;
  }
  printf("DISK %s-%zuk-%d %llu %.6f %zu\n", mode, bytes / 1024, depth, (unsigned long long)done, now() - begin, bytes);
  return 0;
}
