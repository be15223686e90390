// A radix-2 Fourier transform, there and back. The roots of unity come from half-angle formulas, so that no library decides their last bit.
#include <math.h>
#include "wide.h"

enum { LOG = 14, COUNT = 1 << LOG, TURNS = 30 };

struct complex {
  double re, im;
};

static struct complex roots[COUNT / 2], data[COUNT];

static struct complex times(struct complex a, struct complex b) {
  return (struct complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

static void make_roots(void) {
  // root[k] = exp(-2 pi i k / COUNT), built from those of powers of two.
  struct complex power[LOG];
  double cosine = -1, sine = 0;
  for (int level = 0; level < LOG; level++) {
    power[level] = (struct complex){cosine, -sine};
    double half = sqrt((1 + cosine) / 2);
    sine = sqrt((1 - cosine) / 2);
    cosine = half;
  }
  for (int k = 0; k < COUNT / 2; k++) {
    struct complex root = {1, 0};
    for (int level = 0; level < LOG; level++)
      if (k >> (LOG - 1 - level) & 1) root = times(root, power[level]);
    roots[k] = root;
  }
}

static void transform(int inverse) {
  for (int i = 0, j = 0; i < COUNT; i++) {
    if (i < j) {
      struct complex held = data[i];
      data[i] = data[j];
      data[j] = held;
    }
    int bit = COUNT >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (int half = 1; half < COUNT; half *= 2) {
    int step = COUNT / (2 * half);
    for (int first = 0; first < COUNT; first += 2 * half)
      for (int k = 0; k < half; k++) {
        struct complex root = roots[k * step];
        if (inverse) root.im = -root.im;
        struct complex a = data[first + k], b = times(data[first + k + half], root);
        data[first + k] = (struct complex){a.re + b.re, a.im + b.im};
        data[first + k + half] = (struct complex){a.re - b.re, a.im - b.im};
      }
  }
}

void fft(void) {
  uint64_t seed = 3, sum = 0;
  make_roots();
  for (int i = 0; i < COUNT; i++) data[i] = (struct complex){(double)(draw(&seed) >> 40), 0};
  double start = now();
  for (int turn = 0; turn < TURNS; turn++) {
    transform(0);
    sum = mix(sum, bits_of(data[turn].re));
    transform(1);
    for (int i = 0; i < COUNT; i++) data[i] = (struct complex){data[i].re / COUNT, data[i].im / COUNT};
  }
  for (int i = 0; i < COUNT; i++) sum = mix(sum, bits_of(data[i].re));
  result("fft", now() - start, sum);
}
