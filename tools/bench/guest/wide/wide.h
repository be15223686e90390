// What the programs of the wide set share. Each file holds one program or a few that are alike; wide.c picks by name. Every program computes
// the same on every machine: no fused multiplications but explicit ones, no library mathematics but sqrt and fma, no addresses in checks.
#ifndef WIDE_H
#define WIDE_H
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// splitmix64: each program starts its own, so the order in which they run does not matter.
static inline uint64_t draw(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

static inline uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x100000001b3ull; }

static inline uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Prints the RESULT line.
void result(const char *name, double seconds, uint64_t check);
// Ends the process with a sentence.
_Noreturn void fail(const char *what);
void *need(size_t size);

// Where files may be written.
extern const char *scratch;

void coremix(void);
void strmix(void);
void intdouble(void);
void float32(void);
void poly(void);
void mandel(void);
void fft(void);
void stride(void);
void lz(void);
void hash(void);
void trees(void);
void bytecode(void);
void recurse(void);
void sorting(void);
void strings(void);
void format(void);
void modpow(void);
void bits(void);
void editdist(void);
void dfa(void);
void virtual_calls(void);
void jump(void);
void files(void);
void maps(void);
void threads(void);
void timers(void);
// Runs the command, and takes what it printed as the check.
void command(const char *name, char **words);
void write_words(const char *path, size_t bytes);
#endif
