/*
 * File systems that stand still: ioctl FIFREEZE on each that is on a block device and writable. This child thaws them when its input
 * ends, because the host asked, is gone, or the agent has ended; and in any case after a time.
 */

#include <linux/fs.h>

#include "children.h"

#define MAXIMUM_MOUNTS 256
#define MOUNTINFO_BYTES (1u << 20)
#define EXIT_ASKED 0
#define EXIT_TIMEOUT 1

struct mount {
  const char *device; /* major:minor */
  char *place;
};

static int frozen[MAXIMUM_MOUNTS];
static size_t frozen_count;

/* The next field of a line; cuts it off. */
static char *next_field(char **at) {
  char *field = *at;
  if (field == 0) return 0;
  char *end = (char *)find(field, ' ');
  *at = 0;
  if (end != 0) {
    *end = 0;
    *at = end + 1;
  }
  return field;
}

/* mountinfo writes a space as \040 (proc(5)). */
static void unescape(char *text) {
  char *to = text;
  for (char *from = text; *from != 0;)
    if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' && from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
      *to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
      from += 4;
    } else *to++ = *from++;
  *to = 0;
}

static bool has_word(const char *list, const char *word) {
  size_t size = strlen(word);
  for (; list != 0; list = find(list, ',')) {
    if (*list == ',') list++;
    if (strncmp(list, word, size) == 0 && (list[size] == ',' || list[size] == 0)) return true;
  }
  return false;
}

/* id parent major:minor root place options ... - type source super-options */
static bool parse_mount(char *line, struct mount *mount) {
  char *fields[6], *field, *at = line;
  for (size_t count = 0; count < COUNT(fields); count++)
    if ((fields[count] = next_field(&at)) == 0) return false;
  while ((field = next_field(&at)) != 0 && strcmp(field, "-") != 0);
  next_field(&at);
  const char *source = next_field(&at), *options = next_field(&at);
  if (source == 0 || options == 0) return false;
  mount->device = fields[2];
  mount->place = fields[4];
  /* A file system over several devices (btrfs) has a number of its own, with major 0. */
  bool is_on_device = strncmp(mount->device, "0:", 2) != 0 || strncmp(source, "/dev/", 5) == 0;
  return is_on_device && !has_word(options, "ro");
}

static void thaw(void) {
  while (frozen_count > 0) sys_ioctl(frozen[--frozen_count], FITHAW, 0);
}

static bool is_known(const struct mount *mounts, size_t count, const char *device) {
  for (size_t other = 0; other < count; other++)
    if (strcmp(mounts[other].device, device) == 0) return true;
  return false;
}

static void freeze_all(void) {
  static struct mount mounts[MAXIMUM_MOUNTS];
  static char text[MOUNTINFO_BYTES];
  size_t count = 0;
  long size = read_text("/proc/self/mountinfo", text, sizeof text);
  if (size < 0) fail(STAGE_FREEZE, size, "/proc/self/mountinfo");
  /* What is not known of would go on being written. */
  if (size == sizeof text - 1) fail(STAGE_FREEZE, -E2BIG, "/proc/self/mountinfo");
  for (char *line = text; *line != 0;) {
    char *end = (char *)find(line, '\n');
    if (end != 0) *end = 0;
    struct mount mount;
    /* A file system may be in many places; one of them will do. */
    if (parse_mount(line, &mount) && !is_known(mounts, count, mount.device)) {
      if (count == MAXIMUM_MOUNTS) fail(STAGE_FREEZE, -E2BIG, "/proc/self/mountinfo");
      mounts[count++] = mount;
    }
    if (end == 0) break;
    line = end + 1;
  }
  /* What was mounted last may lie on what was mounted before. */
  while (count-- > 0) {
    unescape(mounts[count].place);
    long fd = sys_open(mounts[count].place, O_RDONLY | O_NONBLOCK);
#ifdef HOSTED
    long result = -EOPNOTSUPP;
#else
    long result = fd < 0 ? fd : sys_ioctl(fd, FIFREEZE, 0);
#endif
    if (result == 0) {
      frozen[frozen_count++] = (int)fd;
      continue;
    }
    if (fd >= 0) sys_close(fd);
    /* It cannot be frozen, is frozen by somebody else, or lies beneath another mount. */
    if (result == -EOPNOTSUPP || result == -ENOTTY || result == -EBUSY || result == -ENOENT) continue;
    thaw();
    fail(STAGE_FREEZE, result, mounts[count].place);
  }
}

void freeze(const void *argument) {
  u32 milliseconds = *(const u32 *)argument;
  s64 until = now_ms() + milliseconds;
  freeze_all();
  report_started((u32)frozen_count);
  for (;;) {
    s64 left = until - now_ms();
    if (left < 0) left = 0;
    struct __kernel_timespec timeout = {left / 1000, left % 1000 * 1000000L};
    struct pollfd input = {.fd = 0, .events = POLLIN};
    long result = sys_ppoll(&input, 1, &timeout);
    u8 dropped[64];
    if (result > 0 && sys_read(0, dropped, sizeof dropped) > 0) continue;
    if (result == -EINTR) continue;
    thaw();
    for (;;) sys_exit(result == 0 ? EXIT_TIMEOUT : EXIT_ASKED);
  }
}
