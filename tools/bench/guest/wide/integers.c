// Integers: modular powers by 64-bit division and by high halves of products, and everything that is done bit by bit.
#include "wide.h"

static uint64_t power_by_division(uint64_t base, uint64_t exponent, uint64_t modulus) {
  uint64_t power = 1;
  for (; exponent; exponent >>= 1, base = base * base % modulus)
    if (exponent & 1) power = power * base % modulus;
  return power;
}

// Montgomery: a * b / 2^64 modulo n, n odd and below 2^63, inverse = -1/n modulo 2^64.
static uint64_t reduced_product(uint64_t a, uint64_t b, uint64_t n, uint64_t inverse) {
  unsigned __int128 product = (unsigned __int128)a * b;
  uint64_t factor = (uint64_t)product * inverse;
  uint64_t high = (uint64_t)((product + (unsigned __int128)factor * n) >> 64);
  return high >= n ? high - n : high;
}

void modpow(void) {
  uint64_t sum = 0, seed = 11;
  double start = now();
  for (int i = 0; i < 300000; i++) {
    uint64_t modulus = (draw(&seed) >> 33) | 1;
    uint64_t base = draw(&seed) % modulus, exponent = draw(&seed) >> 32;
    sum = mix(sum, power_by_division(base, exponent, modulus));
  }
  for (int i = 0; i < 300000; i++) {
    uint64_t n = (draw(&seed) >> 1) | 1, inverse = n;
    for (int step = 0; step < 6; step++) inverse *= 2 - n * inverse;
    uint64_t value = draw(&seed) % n, product = value;
    for (int step = 0; step < 64; step++) product = reduced_product(product, value ^ (uint64_t)step, n, -inverse);
    sum = mix(sum, product);
  }
  result("modpow", now() - start, sum);
}

static uint64_t reversed(uint64_t x) {
  x = (x >> 1 & 0x5555555555555555ull) | (x & 0x5555555555555555ull) << 1;
  x = (x >> 2 & 0x3333333333333333ull) | (x & 0x3333333333333333ull) << 2;
  x = (x >> 4 & 0x0f0f0f0f0f0f0f0full) | (x & 0x0f0f0f0f0f0f0f0full) << 4;
  return __builtin_bswap64(x);
}

static uint64_t queens(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
  if (columns == all) return 1;
  uint64_t ways = 0;
  for (uint32_t open = all & ~(columns | left | right); open; open &= open - 1) {
    uint32_t bit = open & -open;
    ways += queens(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
  }
  return ways;
}

void bits(void) {
  uint64_t sum = 0, seed = 12;
  double start = now();
  for (int i = 0; i < 5000000; i++) {
    uint64_t x = draw(&seed);
    sum += (uint64_t)__builtin_popcountll(x) + (uint64_t)__builtin_clzll(x | 1) * 3 + (uint64_t)__builtin_ctzll(x | 1ull << 63);
    sum ^= reversed(x) >> (x & 31);
    sum = sum << 7 | sum >> 57;
  }
  sum = mix(sum, queens((1u << 11) - 1, 0, 0, 0));
  result("bits", now() - start, sum);
}
