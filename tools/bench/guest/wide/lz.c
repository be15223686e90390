// Compression: repetitions are found through a hash of four bytes and written as distance and length; then everything is put back.
//
//     0xxxxxxx                 1 + x bytes follow as they are
//     1xxxxxxx dddddddd*2      4 + x bytes from a distance of 1 + d (16 bits)
#include "wide.h"

enum { SIZE = 4 << 20, HASHES = 1 << 14, LONGEST = 131, FARTHEST = 1 << 16 };

static uint32_t load32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint8_t *put_plain(uint8_t *out, const uint8_t *from, size_t count) {
  while (count > 0) {
    size_t part = count < 128 ? count : 128;
    *out++ = (uint8_t)(part - 1);
    memcpy(out, from, part);
    out += part;
    from += part;
    count -= part;
  }
  return out;
}

static size_t compress(const uint8_t *in, size_t size, uint8_t *out) {
  static uint32_t last[HASHES];
  memset(last, 0xff, sizeof last);
  uint8_t *start = out;
  size_t at = 0, plain = 0;
  while (at + 4 <= size) {
    uint32_t *slot = &last[load32(in + at) * 2654435761u >> 18];
    size_t before = *slot;
    *slot = (uint32_t)at;
    if (before == 0xffffffffu || at - before > FARTHEST || load32(in + before) != load32(in + at)) {
      at++;
      continue;
    }
    size_t length = 4;
    while (length < LONGEST && at + length < size && in[before + length] == in[at + length]) length++;
    out = put_plain(out, in + plain, at - plain);
    size_t distance = at - before - 1;
    *out++ = (uint8_t)(0x80 | (length - 4));
    *out++ = (uint8_t)distance;
    *out++ = (uint8_t)(distance >> 8);
    at += length;
    plain = at;
  }
  return (size_t)(put_plain(out, in + plain, size - plain) - start);
}

static size_t expand(const uint8_t *in, size_t size, uint8_t *out) {
  const uint8_t *end = in + size;
  uint8_t *start = out;
  while (in < end) {
    size_t count = *in & 0x7f;
    if (*in++ < 0x80) {
      memcpy(out, in, count + 1);
      in += count + 1;
      out += count + 1;
      continue;
    }
    const uint8_t *from = out - 1 - (in[0] | in[1] << 8);
    in += 2;
    for (count += 4; count > 0; count--) *out++ = *from++;
  }
  return (size_t)(out - start);
}

void lz(void) {
  uint8_t *text = need(SIZE), *packed = need(SIZE * 2), *back = need(SIZE);
  uint64_t seed = 5;
  for (size_t i = 0; i < SIZE;) {
    uint64_t r = draw(&seed);
    size_t length = 3 + (r >> 8) % 12, from = i > 4096 ? i - 1 - (r >> 20) % 4096 : 0;
    int isNew = i < 4096 || (r & 3) == 0;
    for (size_t k = 0; k < length && i < SIZE; k++) text[i++] = isNew ? (uint8_t)('a' + draw(&seed) % 26) : text[from + k];
  }
  uint64_t sum = 0;
  double start = now();
  for (int turn = 0; turn < 6; turn++) {
    size_t size = compress(text, SIZE, packed);
    if (expand(packed, size, back) != SIZE || memcmp(text, back, SIZE)) sum = 0xbad;
    sum = mix(sum, size);
    text[(size_t)turn * 1000] ^= 1;
  }
  result("lz", now() - start, sum);
  free(text);
  free(packed);
  free(back);
}
