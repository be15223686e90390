/* The agent's port: found by its name in /sys or /dev, with or without anybody who makes device files. */

#include <linux/netlink.h>

#include "agent.h"

#define AF_NETLINK 16
#define PORT_NAME "org.ringfence.agent.0"
#define CLASS "/sys/class/virtio-ports/"
/* Groups of the kernel's own news of devices (lib/kobject_uevent.c). */
#define KERNEL_NEWS 1

static bool has_name(const char *entry) {
  char path[320] = CLASS, name[64];
  append(path, sizeof path, entry);
  append(path, sizeof path, "/name");
  if (read_text(path, name, sizeof name) <= 0) return false;
  char *end = (char *)find(name, '\n');
  if (end != 0) *end = 0;
  return strcmp(name, PORT_NAME) == 0;
}

/* Opens the device file of an entry, and makes it where nobody else does. */
static long open_entry(const char *entry) {
  char device[300] = "/dev/", path[320] = CLASS, numbers[32];
  append(device, sizeof device, entry);
  long fd = sys_open(device, O_RDWR | O_NONBLOCK);
  if (fd != -ENOENT) return fd;
  append(path, sizeof path, entry);
  append(path, sizeof path, "/dev");
  if (read_text(path, numbers, sizeof numbers) <= 0) return -ENOENT;
  char *colon = (char *)find(numbers, ':'), *end = (char *)find(numbers, '\n');
  if (colon == 0) return -ENOENT;
  *colon = 0;
  if (end != 0) *end = 0;
  s64 major = parse_number(numbers, 0xfff), minor = parse_number(colon + 1, 0xfffff);
  if (major < 0 || minor < 0) return -ENOENT;
  u32 number = (u32)((minor & 0xff) | major << 8 | (minor & ~0xffL) << 12);
  long result = sys_mknodat(AT_FDCWD, device, S_IFCHR | 0600, number);
  return result < 0 ? result : sys_open(device, O_RDWR | O_NONBLOCK);
}

int open_port(void) {
  u64 buffer[128];
  long folder = sys_open(CLASS, O_RDONLY | O_DIRECTORY), fd = -ENOENT, size;
  if (folder < 0) return (int)sys_open("/dev/virtio-ports/" PORT_NAME, O_RDWR | O_NONBLOCK);
  while (fd < 0 && (size = sys_getdents(folder, buffer, sizeof buffer)) > 0)
    for (long at = 0; at < size && fd < 0;) {
      const struct name_in_folder *entry = (const void *)((u8 *)buffer + at);
      if (entry->name[0] != '.' && has_name(entry->name)) fd = open_entry(entry->name);
      at += entry->size;
    }
  sys_close(folder);
  return (int)fd;
}

int open_device_news(void) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_NEWS};
  long fd = sys3(__NR_socket, AF_NETLINK, 2 /* SOCK_DGRAM */ | O_CLOEXEC | O_NONBLOCK, NETLINK_KOBJECT_UEVENT);
  if (fd < 0) return -1;
  if (sys3(__NR_bind, fd, &address, sizeof address) == 0) return (int)fd;
  sys_close(fd);
  return -1;
}
