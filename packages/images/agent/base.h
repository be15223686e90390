/* What a C library would have. */

#pragma once

#include "sys.h"

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *one, const void *other, size_t size);
size_t strlen(const char *text);
int strcmp(const char *one, const char *other);
int strncmp(const char *one, const char *other, size_t size);

/* The first `byte` in a text; 0 when it is not there. */
const char *find(const char *text, char byte);

/* Copies as much of a text as there is room for, with its NUL; gives how long it is then. */
size_t copy_text(char *to, size_t room, const char *text);

/* Adds to the text in `to`, as far as there is room. */
void append(char *to, size_t room, const char *text);
void append_number(char *to, size_t room, u64 number);

/* A decimal number that is all of a text, up to `most`; -1 when it is none. */
s64 parse_number(const char *text, s64 most);

/* Reads a whole file as a text, as far as there is room; its length or -errno. */
long read_text(const char *path, char *into, size_t room);

/* All bytes, however often a signal or a pipe's size interrupts. 0 or -errno. */
long write_all(int fd, const void *from, size_t size);

s64 now_ms(void);

/* struct linux_dirent64: what getdents64(2) gives. */
struct name_in_folder {
  u64 inode;
  s64 offset;
  u16 size;
  u8 type;
  char name[];
};

static inline u16 get16(const u8 *at) { return (u16)(at[0] | at[1] << 8); }
static inline u32 get32(const u8 *at) { return get16(at) | (u32)get16(at + 2) << 16; }
static inline u64 get64(const u8 *at) { return get32(at) | (u64)get32(at + 4) << 32; }
static inline void put16(u8 *at, u16 value) {
  at[0] = (u8)value;
  at[1] = (u8)(value >> 8);
}
static inline void put32(u8 *at, u32 value) {
  put16(at, (u16)value);
  put16(at + 2, (u16)(value >> 16));
}
static inline void put64(u8 *at, u64 value) {
  put32(at, (u32)value);
  put32(at + 4, (u32)(value >> 32));
}
