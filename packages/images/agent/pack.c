/*
 * A copy out of the guest: this child writes a file, or a folder with all that is in it, as records (RECORD in protocol.h). Names in one
 * folder come in order, so whoever reads can see that none comes twice. What vanishes while it is read is left out.
 */

#include "tree.h"

#include <linux/fs.h>

#define CHUNK_BYTES MAXIMUM_DATA_RECORD_BYTES
/* Names of one folder. */
#define NAMES_BYTES (64u << 20)
#define MAXIMUM_NAMES (1u << 20)
/* A file of which the kernel does not know how long it is ends by itself, as those in /proc do. */
#define STATX_WANTED STATX_BASIC_STATS

static u32 flags;

/* Output, gathered. */

static u8 gathered[FRAME_HEADER_BYTES + CHUNK_BYTES];
static size_t gathered_size;

static void flush(void) {
  if (write_all(1, gathered, gathered_size) < 0) for (;;) sys_exit(1);
  gathered_size = 0;
}

static void emit(const void *bytes, size_t size) {
  if (size > sizeof gathered - gathered_size) flush();
  memcpy(gathered + gathered_size, bytes, size);
  gathered_size += size;
}

/* Files with several names that were met, by device and inode; open addressing. */

#define LINK_SLOTS (2u * MAXIMUM_LINKED_FILES)

struct link {
  u64 device, inode;
  char *path;
};

static struct link *links;
static u32 link_count;
static char *link_paths;
static size_t link_paths_left;
static size_t root_path_size;

static char *keep_path(const char *path) {
  size_t size = strlen(path) + 1;
  if (size > link_paths_left) {
    link_paths_left = 256 << 10;
    link_paths = pages(link_paths_left);
    if (link_paths == 0) fail(STAGE_RESOURCES, -ENOMEM, tree_path);
  }
  char *kept = memcpy(link_paths, path, size);
  link_paths += size;
  link_paths_left -= size;
  return kept;
}

/* The path under which a file came before, from the root of the copy on; 0 when it comes for the first time. */
static const char *earlier_path(const struct statx *status) {
  if (links == 0) links = pages(LINK_SLOTS * sizeof(struct link));
  if (links == 0) fail(STAGE_RESOURCES, -ENOMEM, tree_path);
  u64 device = (u64)status->stx_dev_major << 32 | status->stx_dev_minor;
  u64 slot = (status->stx_ino ^ device) * 0x9e3779b97f4a7c15u;
  for (slot = slot >> 32 & (LINK_SLOTS - 1);; slot = (slot + 1) & (LINK_SLOTS - 1)) {
    struct link *link = &links[slot];
    if (link->path == 0) {
      if (++link_count > MAXIMUM_LINKED_FILES) fail(STAGE_TREE, -E2BIG, tree_path);
      const char *path = tree_path + root_path_size;
      *link = (struct link){device, status->stx_ino, keep_path(*path == '/' ? path + 1 : path)};
      return 0;
    }
    if (link->device == device && link->inode == status->stx_ino) return link->path;
  }
}

/* Records. */

static u8 kind_of(u16 mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR: return RECORD_FOLDER;
    case S_IFLNK: return RECORD_SYMLINK;
    case S_IFIFO: return RECORD_FIFO;
    case S_IFSOCK: return RECORD_SOCKET;
    case S_IFCHR: return RECORD_CHARACTER_DEVICE;
    case S_IFBLK: return RECORD_BLOCK_DEVICE;
    default: return RECORD_FILE;
  }
}

static void emit_entry(u8 kind, u8 entry_flags, u32 depth, const char *name, const char *target, const struct statx *status) {
  u8 record[ENTRY_RECORD_BYTES];
  record[0] = kind;
  record[1] = entry_flags;
  put16(record + 2, (u16)strlen(name));
  put16(record + 4, (u16)depth);
  put16(record + 6, (u16)strlen(target));
  put32(record + 8, status->stx_mode & 07777);
  put32(record + 12, status->stx_uid);
  put32(record + 16, status->stx_gid);
  put32(record + 20, status->stx_mtime.tv_nsec);
  put64(record + 24, (u64)status->stx_mtime.tv_sec);
  put64(record + 32, status->stx_size);
  put32(record + 40, status->stx_rdev_major);
  put32(record + 44, status->stx_rdev_minor);
  emit(record, sizeof record);
  emit(name, strlen(name));
  emit(target, strlen(target));
}

static u8 chunk[CHUNK_BYTES];

/* Data from `at` up to `end`; false when the file ends before. */
static bool emit_data(long fd, u64 *at, u64 end) {
  while (*at < end) {
    u64 wanted = end - *at > CHUNK_BYTES ? CHUNK_BYTES : end - *at;
    long size = sys4(__NR_pread64, fd, chunk, wanted, *at);
    if (size == -EINTR) continue;
    /* What can only be read from the beginning to the end. */
    if (size == -ESPIPE) size = sys_read(fd, chunk, wanted);
    expect(size);
    if (size == 0) return false;
    u8 record[DATA_RECORD_BYTES] = {RECORD_DATA};
    put32(record + 4, (u32)size);
    put64(record + 8, *at);
    emit(record, sizeof record);
    emit(chunk, (size_t)size);
    *at += (u64)size;
  }
  return true;
}

/* All that is not a hole. */
static void emit_content(long fd, u64 size) {
  u64 at = 0;
  if (size == 0) {
    emit_data(fd, &at, (u64)1 << 62);
    return;
  }
  while (at < size) {
    long data = sys_lseek(fd, at, SEEK_DATA);
    if (data == -ENXIO) return;
    long hole = data < 0 ? -1 : sys_lseek(fd, data, SEEK_HOLE);
    u64 end = hole < 0 ? size : (u64)hole;
    at = data < 0 ? at : (u64)data;
    if (!emit_data(fd, &at, end)) return;
  }
}

/* The names of a folder, in order. */

struct names {
  char *text;
  char **list;
  size_t text_size, count;
};

static void sift(char **list, size_t at, size_t count) {
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && strcmp(list[child], list[child + 1]) < 0) child++;
    if (strcmp(list[at], list[child]) >= 0) return;
    char *swapped = list[at];
    list[at] = list[child];
    list[child] = swapped;
  }
}

static void sort(char **list, size_t count) {
  for (size_t at = count / 2; at-- > 0;) sift(list, at, count);
  while (count-- > 1) {
    char *largest = list[0];
    list[0] = list[count];
    list[count] = largest;
    sift(list, 0, count);
  }
}

static void read_names(long folder, struct names *names) {
  u64 buffer[1024];
  *names = (struct names){pages(NAMES_BYTES), pages(MAXIMUM_NAMES * sizeof(char *)), 0, 0};
  if (names->text == 0 || names->list == 0) fail(STAGE_RESOURCES, -ENOMEM, tree_path);
  long size;
  while ((size = sys_getdents(folder, buffer, sizeof buffer)) > 0)
    for (long at = 0; at < size;) {
      const struct name_in_folder *entry = (const void *)((u8 *)buffer + at);
      at += entry->size;
      if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0) continue;
      if (names->count == MAXIMUM_NAMES || names->text_size > NAMES_BYTES - 512) fail(STAGE_TREE, -E2BIG, tree_path);
      char *name = names->text + names->text_size;
      names->text_size += copy_text(name, 512, entry->name) + 1;
      names->list[names->count++] = name;
    }
  expect(size);
  sort(names->list, names->count);
}

static void free_names(struct names *names) {
  free_pages(names->text, NAMES_BYTES);
  free_pages(names->list, MAXIMUM_NAMES * sizeof(char *));
}

static void pack_entry(long folder, const char *name, const char *shown, u32 depth);

static void pack_folder(long fd, u32 depth) {
  struct names names;
  if (depth == MAXIMUM_DEPTH) fail(STAGE_TREE, -ELOOP, tree_path);
  read_names(fd, &names);
  for (size_t at = 0; at < names.count; at++) {
    size_t mark = enter_path(names.list[at]);
    pack_entry(fd, names.list[at], names.list[at], depth + 1);
    leave_path(mark);
  }
  free_names(&names);
}

static bool has_vanished(long result, u32 depth) { return (result == -ENOENT || result == -ESTALE) && depth > 0; }

static void pack_link(long folder, const char *name, const char *shown, u32 depth, const struct statx *status) {
  static char target[MAXIMUM_PATH_BYTES + 1];
  long size = sys_readlinkat(folder, name, target, sizeof target - 1);
  if (has_vanished(size, depth)) return;
  expect(size);
  target[size] = 0;
  /* procfs has links that say nothing. */
  if (size == 0) fail(STAGE_PATH, -EINVAL, tree_path);
  emit_entry(RECORD_SYMLINK, 0, depth, shown, target, status);
}

static void pack_entry(long folder, const char *name, const char *shown, u32 depth) {
  bool follows = depth == 0 && (flags & PACK_FLAG_FOLLOW) != 0;
  struct statx status;
  long result = sys_statx(folder, name, follows ? 0 : AT_SYMLINK_NOFOLLOW, STATX_WANTED, &status);
  if (has_vanished(result, depth)) return;
  expect(result);
  u8 kind = kind_of(status.stx_mode);
  bool is_content = depth == 0 && (flags & PACK_FLAG_CONTENT) != 0;
  if (is_content && kind == RECORD_FOLDER) fail(STAGE_PATH, -EISDIR, tree_path);
  if (kind == RECORD_SYMLINK) {
    pack_link(folder, name, shown, depth, &status);
    return;
  }
  if ((flags & PACK_FLAG_ENTRY_ONLY) != 0 || (kind != RECORD_FOLDER && kind != RECORD_FILE && !is_content)) {
    emit_entry(kind, 0, depth, shown, "", &status);
    return;
  }
  u8 entry_flags = 0;
  if (kind == RECORD_FILE && status.stx_nlink > 1 && depth > 0) {
    const char *earlier = earlier_path(&status);
    if (earlier != 0) {
      emit_entry(RECORD_HARD_LINK, 0, depth, shown, earlier, &status);
      return;
    }
    entry_flags = ENTRY_FLAG_MORE_NAMES;
  }
  long fd = sys_openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | (follows ? 0 : O_NOFOLLOW), 0);
  if (has_vanished(fd, depth)) return;
  expect(fd);
  /* What was opened is what is told: it may be another file by now. */
  expect(sys_statx(fd, "", AT_EMPTY_PATH, STATX_WANTED, &status));
  if (kind != kind_of(status.stx_mode)) fail(STAGE_PATH, -ESTALE, tree_path);
  emit_entry(is_content ? RECORD_FILE : kind, entry_flags, depth, shown, "", &status);
  if (kind == RECORD_FOLDER) pack_folder(fd, depth);
  else emit_content(fd, status.stx_size);
  sys_close(fd);
}

void pack(const void *argument) {
  const struct path_request *request = argument;
  flags = request->flags;
  begin_tree(request);
  root_path_size = strlen(tree_path);
  pack_entry(AT_FDCWD, request->path, "", 0);
  u8 end[END_RECORD_BYTES] = {RECORD_END};
  emit(end, sizeof end);
  flush();
}
