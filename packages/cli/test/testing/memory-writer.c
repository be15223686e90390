/*
 * Writes to so many MiB of its memory again and again, and looks each time whether what it wrote before is there: `memory-writer MIB`. Each page holds its own
 * number, how often it was written, which is kept apart too, and a word made of both at a place that differs; now and then the whole page is written and looked
 * at. /tmp/written says how many writes are over, /tmp/wrong what was found that was not written.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, WHOLE = 16 };

static uint64_t mixed(uint64_t page, uint64_t times, uint64_t word) {
  uint64_t x = page * 0x9e3779b97f4a7c15u + times * 0xbf58476d1ce4e5b9u + word;
  x ^= x >> 29;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 32);
}

static void wrong(uint64_t page, uint64_t times, uint64_t word, uint64_t found) {
  FILE *file = fopen("/tmp/wrong", "a");
  if (!file) return;
  fprintf(file, "page %lu, written %lu times, word %lu: %lx\n", page, times, word, found);
  fclose(file);
}

int main(int argc, char **argv) {
  uint64_t pages = (argc > 1 ? strtoul(argv[1], 0, 10) : 64) * 256, written = 0;
  uint64_t *memory = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint64_t *times = calloc(pages, sizeof *times);
  int progress = open("/tmp/written", O_WRONLY | O_CREAT, 0644);
  if (memory == MAP_FAILED || !times || progress < 0) return 1;
  for (uint64_t round = 0;; round++)
    for (uint64_t page = 0; page < pages; page++) {
      uint64_t *at = memory + page * WORDS, before = times[page], now = before + 1;
      if (before) {
        uint64_t place = 2 + mixed(page, before, 0) % (WORDS - 2);
        if (at[0] != page) wrong(page, before, 0, at[0]);
        if (at[1] != before) wrong(page, before, 1, at[1]);
        if (at[place] != mixed(page, before, place)) wrong(page, before, place, at[place]);
        if (before % WHOLE == 1)
          for (uint64_t word = 2; word < WORDS; word++)
            if (at[word] != mixed(page, before, word)) wrong(page, before, word, at[word]);
      }
      at[0] = page;
      at[1] = now;
      uint64_t place = 2 + mixed(page, now, 0) % (WORDS - 2);
      at[place] = mixed(page, now, place);
      if (now % WHOLE == 1)
        for (uint64_t word = 2; word < WORDS; word++) at[word] = mixed(page, now, word);
      times[page] = now;
      if (++written % 256 == 0) {
        char said[32];
        int bytes = snprintf(said, sizeof said, "%020lu\n", written);
        if (pwrite(progress, said, bytes, 0) != bytes) return 2;
      }
    }
}
