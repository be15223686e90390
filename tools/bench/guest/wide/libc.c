// What the C library does most: sorting with a comparison that is called back, strings over megabytes, numbers to text and back.
#include "wide.h"

struct record {
  uint32_t key, serial;
};

static int by_key(const void *a, const void *b) {
  const struct record *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return x->serial < y->serial ? -1 : x->serial > y->serial;
}

void sorting(void) {
  enum { COUNT = 300000 };
  struct record *records = need(sizeof *records * COUNT);
  uint64_t sum = 0, seed = 9;
  double start = now();
  for (int turn = 0; turn < 3; turn++) {
    for (uint32_t i = 0; i < COUNT; i++) records[i] = (struct record){(uint32_t)(draw(&seed) & 0xfffff), i};
    qsort(records, COUNT, sizeof *records, by_key);
    for (int i = 0; i < COUNT; i += 7) sum = mix(sum, records[i].serial);
  }
  result("qsort", now() - start, sum);
  free(records);
}

void strings(void) {
  enum { SIZE = 4 << 20, TURNS = 12 };
  char *text = need(SIZE + 1), *copy = need(SIZE + 1);
  uint64_t seed = 10;
  for (int i = 0; i < SIZE; i++) text[i] = (char)('a' + draw(&seed) % 20);
  for (int i = 80; i < SIZE; i += 50 + (int)(draw(&seed) % 60)) text[i] = '\n';
  text[SIZE] = 0;
  memcpy(text + SIZE - 20, "zebra\n", 6);
  uint64_t sum = 0;
  double start = now();
  for (int turn = 0; turn < TURNS; turn++) {
    sum += strlen(text + turn);
    for (char *at = text; (at = memchr(at, '\n', (size_t)(text + SIZE - at))) != NULL; at++) sum++;
    sum += (uint64_t)(strstr(text, "zebra") - text);
    strcpy(copy, text);
    sum += (uint64_t)(strcmp(copy, text) == 0) + (uint64_t)(memcmp(copy + 1, text, 100) > 0);
    memmove(copy + 3, copy, SIZE / 2);
    sum += strcspn(text + turn * 1000, "\n") + (uint64_t)(unsigned char)copy[SIZE / 3];
    sum += (uint64_t)(strrchr(text, 'q') - text);
  }
  result("strings", now() - start, sum);
  free(text);
  free(copy);
}

void format(void) {
  char line[160];
  uint64_t sum = 0;
  double start = now();
  for (int i = 0; i < 150000; i++) {
    int length = snprintf(line, sizeof line, "%d:%08x:%s:%.3f:%5ld|", i, (unsigned)i * 2654435761u, i & 1 ? "odd" : "even", i * 0.125, (long)i * i);
    char *at = line;
    long first = strtol(at, &at, 10);
    unsigned long second = strtoul(at + 1, &at, 16);
    at = strchr(at + 1, ':');
    double third = strtod(at + 1, &at);
    sum = mix(sum, (uint64_t)first + second + (uint64_t)(third * 8) + (uint64_t)length + strtoul(at + 1, NULL, 10));
  }
  result("format", now() - start, sum);
}
