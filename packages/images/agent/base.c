/* What a C library would have. */

#include "base.h"

#include <linux/time.h>

#ifndef HOSTED
void *memcpy(void *to, const void *from, size_t size) {
  u8 *t = to;
  const u8 *f = from;
  if ((((uintptr_t)t ^ (uintptr_t)f) & 7) == 0) {
    for (; size > 0 && ((uintptr_t)t & 7) != 0; size--) *t++ = *f++;
    for (; size >= 8; size -= 8, t += 8, f += 8) *(u64 *)(void *)t = *(const u64 *)(const void *)f;
  }
  while (size-- > 0) *t++ = *f++;
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  u8 *t = to;
  const u8 *f = from;
  if (t <= f || t >= f + size) return memcpy(to, from, size);
  while (size-- > 0) t[size] = f[size];
  return to;
}

void *memset(void *to, int byte, size_t size) {
  u8 *t = to;
  while (size-- > 0) *t++ = (u8)byte;
  return to;
}

int memcmp(const void *one, const void *other, size_t size) {
  const u8 *a = one, *b = other;
  for (; size > 0; size--, a++, b++)
    if (*a != *b) return *a - *b;
  return 0;
}

size_t strlen(const char *text) {
  size_t size = 0;
  while (text[size] != 0) size++;
  return size;
}

int strcmp(const char *one, const char *other) {
  while (*one != 0 && *one == *other) one++, other++;
  return (u8)*one - (u8)*other;
}

int strncmp(const char *one, const char *other, size_t size) {
  for (; size > 0; size--, one++, other++)
    if (*one != *other || *one == 0) return (u8)*one - (u8)*other;
  return 0;
}
#endif

const char *find(const char *text, char byte) {
  for (; *text != 0; text++)
    if (*text == byte) return text;
  return 0;
}

size_t copy_text(char *to, size_t room, const char *text) {
  size_t size = strlen(text);
  if (size >= room) size = room - 1;
  memcpy(to, text, size);
  to[size] = 0;
  return size;
}

void append(char *to, size_t room, const char *text) {
  size_t size = strlen(to);
  copy_text(to + size, room - size, text);
}

void append_number(char *to, size_t room, u64 number) {
  char digits[24];
  size_t at = sizeof digits;
  digits[--at] = 0;
  do digits[--at] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  append(to, room, digits + at);
}

s64 parse_number(const char *text, s64 most) {
  s64 number = 0;
  if (*text == 0) return -1;
  for (; *text != 0; text++) {
    if (*text < '0' || *text > '9') return -1;
    number = number * 10 + (*text - '0');
    if (number > most) return -1;
  }
  return number;
}

long read_text(const char *path, char *into, size_t room) {
  long fd = sys_open(path, O_RDONLY);
  if (fd < 0) return fd;
  size_t size = 0;
  long count = 0;
  while (size < room - 1 && (count = sys_read(fd, into + size, room - 1 - size)) > 0) size += (size_t)count;
  sys_close(fd);
  into[size] = 0;
  return count < 0 ? count : (long)size;
}

long write_all(int fd, const void *from, size_t size) {
  const u8 *at = from;
  while (size > 0) {
    long count = sys_write(fd, at, size);
    if (count == -EINTR) continue;
    if (count < 0) return count;
    at += count;
    size -= (size_t)count;
  }
  return 0;
}

s64 now_ms(void) {
  struct __kernel_timespec now;
  sys_clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
