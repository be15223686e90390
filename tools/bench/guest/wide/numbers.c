// Floating point as programs use it: whole numbers in double as JavaScript has them, single precision with conversions, polynomials with
// explicit fma, and iterations that end at a threshold.
#include <math.h>
#include "wide.h"

void intdouble(void) {
  double sum = 0, a = 1, b = 1;
  double start = now();
  for (double i = 0; i < 30000000; i++) {
    double next = a + b;
    if (next >= 1e9) next -= 1e9;
    a = b;
    b = next;
    int32_t low = (int32_t)next;
    sum += (double)(low & 255) * 3 - (next > 5e8 ? 7 : 0);
  }
  result("intdouble", now() - start, (uint64_t)(int64_t)sum);
}

void float32(void) {
  enum { COUNT = 4096, TURNS = 1500 };
  static float x[COUNT], y[COUNT];
  static int16_t samples[COUNT];
  uint64_t seed = 2, sum = 0;
  for (int i = 0; i < COUNT; i++) {
    x[i] = (float)(int32_t)(draw(&seed) >> 44) / 1024.0f;
    samples[i] = (int16_t)draw(&seed);
  }
  double start = now();
  for (int turn = 0; turn < TURNS; turn++) {
    float low = 0, gain = 0.25f + (float)turn * 0.0005f;
    for (int i = 0; i < COUNT; i++) {
      low += gain * ((float)samples[i] - low);
      y[i] = low * 0.5f + x[i] / (1.0f + fabsf(low) * 0.001f);
    }
    for (int i = 0; i < COUNT; i++) sum += (uint32_t)(int32_t)(y[i] * 16.0f);
  }
  result("float32", now() - start, sum);
}

// x86 calls its library for fma where the compiler may not assume the instruction; the answer is the same.
void poly(void) {
  static const double c[] = {1.0, 0.5, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320};
  uint64_t sum = 0;
  double start = now();
  for (int i = 0; i < 3000000; i++) {
    double x = (double)(i & 4095) * 0.00025, value = 1.0 / 362880;
    for (int k = 7; k >= 0; k--) value = fma(value, x, c[k]);
    sum = mix(sum, bits_of(value));
  }
  result("poly", now() - start, sum);
}

void mandel(void) {
  enum { WIDTH = 400, HEIGHT = 300, LIMIT = 400 };
  uint64_t sum = 0;
  double start = now();
  for (int row = 0; row < HEIGHT; row++)
    for (int column = 0; column < WIDTH; column++) {
      double re = column * (3.0 / WIDTH) - 2.25, im = row * (2.5 / HEIGHT) - 1.25, x = 0, y = 0;
      int turns = 0;
      while (turns < LIMIT && x * x + y * y <= 4) {
        double next = x * x - y * y + re;
        y = 2 * x * y + im;
        x = next;
        turns++;
      }
      sum = mix(sum, (uint64_t)turns);
    }
  result("mandel", now() - start, sum);
}
