// The wide set: typical programs that nothing was tuned for.
//
//     wide NAME [SCRATCH]              one of the programs below
//     wide command NAME WORD...        a command, timed; its output is the check
//     wide words FILE BYTES            writes a text to work on
#include "wide.h"

const char *scratch = "/tmp";

static const struct {
  const char *name;
  void (*run)(void);
} programs[] = {
    {"coremix", coremix},   {"strmix", strmix},   {"intdouble", intdouble}, {"float32", float32}, {"poly", poly},
    {"mandel", mandel},     {"fft", fft},         {"stride", stride},       {"lz", lz},           {"hash", hash},
    {"trees", trees},       {"bytecode", bytecode}, {"recurse", recurse},   {"qsort", sorting},   {"strings", strings},
    {"format", format},     {"modpow", modpow},   {"bits", bits},           {"editdist", editdist}, {"dfa", dfa},
    {"virtual", virtual_calls}, {"jump", jump},   {"files", files},         {"maps", maps},       {"threads", threads},
    {"timers", timers},
};

void result(const char *name, double seconds, uint64_t check) {
  printf("RESULT %s %.4f %llx\n", name, seconds, (unsigned long long)check);
  fflush(stdout);
}

void fail(const char *what) {
  fprintf(stderr, "wide: ");
  perror(what);
  exit(1);
}

void *need(size_t size) {
  void *memory = malloc(size);
  if (memory == NULL) fail("malloc");
  return memory;
}

int main(int argc, char **argv) {
  if (argc >= 4 && !strcmp(argv[1], "command")) {
    command(argv[2], argv + 3);
    return 0;
  }
  if (argc == 4 && !strcmp(argv[1], "words")) {
    write_words(argv[2], strtoul(argv[3], NULL, 10));
    return 0;
  }
  if (argc > 2) scratch = argv[2];
  for (size_t i = 0; argc > 1 && i < sizeof programs / sizeof *programs; i++) {
    if (strcmp(argv[1], programs[i].name)) continue;
    programs[i].run();
    return 0;
  }
  fprintf(stderr, "wide: there is no program called %s\n", argc > 1 ? argv[1] : "nothing");
  return 2;
}
