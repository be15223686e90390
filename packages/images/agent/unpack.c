/*
 * A copy into the guest: this child reads records (RECORD in protocol.h) and makes what they say. A file is written under another name and
 * takes its place when it is whole; what is at the path itself and is no regular file (a device, a link) is written to instead.
 * Attributes of a folder that was made are set when all that is in it is there.
 */

#include "tree.h"

#define TEMPORARY ".ringfence-copy-"

static u32 flags;

/* The folders that are being filled; the root first. */
struct level {
  long fd;
  size_t path_mark;
  bool is_new;
  u8 record[ENTRY_RECORD_BYTES];
};
static struct level levels[MAXIMUM_DEPTH + 1];
static size_t level_count;
static bool has_root;

/* The file that is being written. */
static struct {
  long fd, folder;
  bool is_in_place;
  u64 end;
  size_t path_mark;
  u8 record[ENTRY_RECORD_BYTES];
  char name[MAXIMUM_NAME_BYTES + 1];
  char temporary[64];
} file = {.fd = -1};

static void forget_file(void) {
  if (file.fd >= 0 && !file.is_in_place) sys_unlinkat(file.folder, file.temporary);
}

static void check(long result) {
  if (result >= 0) return;
  forget_file();
  fail(STAGE_PATH, result, tree_path);
}

_Noreturn static void refuse(void) {
  forget_file();
  fail(STAGE_TREE, -EPROTO, tree_path);
}

/* Input. */

static u8 buffer[DATA_RECORD_BYTES + MAXIMUM_DATA_RECORD_BYTES];
static size_t buffer_at, buffer_size;

/* The next `size` bytes, which stay until the next call. */
static const u8 *take(size_t size) {
  if (buffer_size - buffer_at < size) {
    memmove(buffer, buffer + buffer_at, buffer_size - buffer_at);
    buffer_size -= buffer_at;
    buffer_at = 0;
  }
  while (buffer_size < size) {
    long count = sys_read(0, buffer + buffer_size, sizeof buffer - buffer_size);
    if (count == -EINTR) continue;
    if (count <= 0) {
      /* The host has gone or given up. */
      forget_file();
      for (;;) sys_exit(1);
    }
    buffer_size += (size_t)count;
  }
  const u8 *taken = buffer + buffer_at;
  buffer_at += size;
  return taken;
}

/* Attributes. */

static u32 mode_of(const u8 *record) {
  u32 mode = get32(record + 8) & 07777;
  /* Rights of an owner that the file does not have. */
  return (flags & UNPACK_FLAG_KEEP_OWNERS) != 0 ? mode : mode & 01777;
}

static void times_of(const u8 *record, struct __kernel_timespec *times) {
  times[0] = times[1] = (struct __kernel_timespec){(s64)get64(record + 24), get32(record + 20)};
}

static void set_attributes(long fd, const u8 *record) {
  struct __kernel_timespec times[2];
  times_of(record, times);
  if ((flags & UNPACK_FLAG_KEEP_OWNERS) != 0)
    check(sys_fchownat(fd, "", get32(record + 12), get32(record + 16), AT_EMPTY_PATH));
  check(sys_fchmod(fd, mode_of(record)));
  check(sys_utimensat(fd, 0, times, 0));
}

/* The same for what cannot be opened. */
static void set_attributes_of(long folder, const char *name, const u8 *record) {
  struct __kernel_timespec times[2];
  times_of(record, times);
  if ((flags & UNPACK_FLAG_KEEP_OWNERS) != 0) {
    check(sys_fchownat(folder, name, get32(record + 12), get32(record + 16), AT_SYMLINK_NOFOLLOW));
    /* Which takes set-user-ID and set-group-ID away. */
    if (record[0] != RECORD_SYMLINK) check(sys3(__NR_fchmodat, folder, name, mode_of(record)));
  }
  check(sys_utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW));
}

/* Files. */

static void finish_file(void) {
  if (file.fd < 0) return;
  u64 size = get64(file.record + 32);
  if (size < file.end) size = file.end;
  if (!file.is_in_place) {
    check(sys_ftruncate(file.fd, size));
    set_attributes(file.fd, file.record);
    check(sys_renameat(file.folder, file.temporary, file.folder, file.name));
  }
  sys_close(file.fd);
  file.fd = -1;
  leave_path(file.path_mark);
}

/* Something at the path itself that is not to be replaced. */
static bool is_kept(long folder, const char *name, size_t depth) {
  struct statx status;
  if (depth > 0 || sys_statx(folder, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status) < 0) return false;
  u16 type = status.stx_mode & S_IFMT;
  return type != S_IFREG && type != S_IFDIR;
}

static void begin_file(long folder, const char *name, size_t depth, const u8 *record, size_t path_mark) {
  static u64 count;
  file.folder = folder;
  file.end = 0;
  file.path_mark = path_mark;
  file.is_in_place = is_kept(folder, name, depth);
  memcpy(file.record, record, sizeof file.record);
  copy_text(file.name, sizeof file.name, name);
  if (file.is_in_place) {
    long fd = sys_openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0644);
    check(fd);
    file.fd = fd;
    return;
  }
  copy_text(file.temporary, sizeof file.temporary, TEMPORARY);
  append_number(file.temporary, sizeof file.temporary, (u64)sys_getpid());
  append(file.temporary, sizeof file.temporary, "-");
  append_number(file.temporary, sizeof file.temporary, count++);
  long fd = sys_openat(folder, file.temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  check(fd);
  file.fd = fd;
}

static void take_data(void) {
  u8 header[DATA_RECORD_BYTES];
  memcpy(header, take(sizeof header), sizeof header);
  u32 size = get32(header + 4);
  u64 offset = get64(header + 8);
  if (file.fd < 0 || size > MAXIMUM_DATA_RECORD_BYTES || offset < file.end || offset > (u64)1 << 62) refuse();
  const u8 *bytes = take(size);
  file.end = offset + size;
  while (size > 0) {
    long count = sys_pwrite(file.fd, bytes, size, offset);
    if (count == -EINTR) continue;
    if (count == -ESPIPE) count = sys_write(file.fd, bytes, size);
    check(count);
    bytes += count;
    offset += (u64)count;
    size -= (u32)count;
  }
}

/* Folders. */

static void leave_levels(size_t depth) {
  while (level_count > depth) {
    struct level *level = &levels[--level_count];
    if (level->is_new) set_attributes(level->fd, level->record);
    sys_close(level->fd);
    leave_path(level->path_mark);
  }
}

static void begin_folder(long folder, const char *name, size_t depth, const u8 *record, size_t path_mark) {
  long made = sys_mkdirat(folder, name, 0700);
  if (made != -EEXIST) check(made);
  /* A link at the path itself is where the copy is to go; below it, links are not followed. */
  long fd = sys_openat(folder, name, O_RDONLY | O_DIRECTORY | (depth > 0 ? O_NOFOLLOW : 0), 0);
  check(fd);
  struct level *level = &levels[level_count++];
  level->fd = fd;
  level->path_mark = path_mark;
  level->is_new = made == 0;
  memcpy(level->record, record, sizeof level->record);
}

/* Makes something that takes the place of what is there, unless that is a folder. */
static long link_earlier(long folder, const char *name, char *target) {
  if (level_count == 0) refuse();
  long at = levels[0].fd;
  for (;;) {
    char *slash = (char *)find(target, '/');
    if (slash != 0) *slash = 0;
    if (*target == 0 || strcmp(target, ".") == 0 || strcmp(target, "..") == 0) refuse();
    if (slash == 0) break;
    long next = sys_openat(at, target, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    if (at != levels[0].fd) sys_close(at);
    if (next < 0) return next;
    at = next;
    target = slash + 1;
  }
  long result = sys_linkat(at, target, folder, name);
  if (at != levels[0].fd) sys_close(at);
  return result;
}

static long make(long folder, const char *name, char *target, const u8 *record) {
  static const u32 types[] = {
      [RECORD_FIFO] = S_IFIFO,
      [RECORD_SOCKET] = S_IFSOCK,
      [RECORD_CHARACTER_DEVICE] = S_IFCHR,
      [RECORD_BLOCK_DEVICE] = S_IFBLK,
  };
  if (record[0] == RECORD_SYMLINK) return sys_symlinkat(target, folder, name);
  if (record[0] == RECORD_HARD_LINK) return link_earlier(folder, name, target);
  u32 device = device_number(get32(record + 40), get32(record + 44));
  return sys_mknodat(folder, name, types[record[0]] | mode_of(record), device);
}

static void make_other(long folder, const char *name, char *target, const u8 *record) {
  static char again[MAXIMUM_PATH_BYTES + 1];
  copy_text(again, sizeof again, target);
  long result = make(folder, name, target, record);
  if (result == -EEXIST) {
    check(sys_unlinkat(folder, name));
    result = make(folder, name, again, record);
  }
  check(result);
  if (record[0] != RECORD_HARD_LINK) set_attributes_of(folder, name, record);
}

/* The root. */

/* Opens the folder that the path's last name is in; `name` becomes that name. */
static long open_parent(char *path, const char **name) {
  size_t size = strlen(path);
  while (size > 1 && path[size - 1] == '/') path[--size] = 0;
  char *slash = path;
  for (char *at = path; (at = (char *)find(at, '/')) != 0; at++) slash = at;
  *name = slash[1] == 0 ? "." : slash + 1;
  if ((flags & UNPACK_FLAG_MAKE_PARENTS) != 0)
    for (char *at = path; (at = (char *)find(at + 1, '/')) != 0;) {
      *at = 0;
      long result = sys_mkdirat(AT_FDCWD, path, 0755);
      *at = '/';
      if (result < 0 && result != -EEXIST && result != -EROFS) check(result);
    }
  *slash = 0;
  long fd = sys_open(slash == path ? "/" : path, O_RDONLY | O_DIRECTORY);
  check(fd);
  return fd;
}

/* One name, which leads nowhere else. */
static bool is_name(const char *name, size_t size) {
  return size > 0 && size <= MAXIMUM_NAME_BYTES && strlen(name) == size && find(name, '/') == 0 && strcmp(name, ".") != 0 &&
         strcmp(name, "..") != 0;
}

static void take_entry(long parent, const char *root_name) {
  static u8 record[ENTRY_RECORD_BYTES];
  static char name[MAXIMUM_NAME_BYTES + 1], target[MAXIMUM_PATH_BYTES + 1];
  memcpy(record, take(sizeof record), sizeof record);
  size_t name_size = get16(record + 2), depth = get16(record + 4), target_size = get16(record + 6);
  if (name_size > MAXIMUM_NAME_BYTES || target_size > MAXIMUM_PATH_BYTES || get32(record + 20) > 999999999) refuse();
  memcpy(name, take(name_size), name_size);
  name[name_size] = 0;
  memcpy(target, take(target_size), target_size);
  target[target_size] = 0;
  if (depth > level_count || depth > MAXIMUM_DEPTH) refuse();
  if (depth == 0 ? has_root || name_size > 0 : !is_name(name, name_size)) refuse();
  has_root = true;
  leave_levels(depth);
  long folder = depth == 0 ? parent : levels[depth - 1].fd;
  const char *at = depth == 0 ? root_name : name;
  size_t mark = strlen(tree_path);
  if (depth > 0) enter_path(name);
  switch (record[0]) {
    case RECORD_FOLDER:
      begin_folder(folder, at, depth, record, mark);
      return;
    case RECORD_FILE:
      begin_file(folder, at, depth, record, mark);
      return;
    case RECORD_SYMLINK:
    case RECORD_HARD_LINK:
    case RECORD_FIFO:
    case RECORD_SOCKET:
    case RECORD_CHARACTER_DEVICE:
    case RECORD_BLOCK_DEVICE:
      make_other(folder, at, target, record);
      leave_path(mark);
      return;
  }
  refuse();
}

void unpack(const void *argument) {
  static char path[MAXIMUM_PATH_BYTES + 1];
  const struct path_request *request = argument;
  const char *name;
  flags = request->flags;
  begin_tree(request);
  copy_text(path, sizeof path, request->path);
  sys_umask(022);
  long parent = open_parent(path, &name);
  sys_umask(0);
  for (;;) {
    u8 kind = *take(1);
    buffer_at--;
    if (kind == RECORD_DATA) {
      take_data();
      continue;
    }
    finish_file();
    if (kind == RECORD_END) break;
    take_entry(parent, name);
  }
  if (!has_root) refuse();
  leave_levels(0);
}
