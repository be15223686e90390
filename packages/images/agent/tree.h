/* What both directions of a copy share: the path of where they are, for reports, and the user in whose name they work. */

#pragma once

#include "agent.h"
#include "users.h"

#define TREE_PATH_BYTES 8192

extern char tree_path[TREE_PATH_BYTES];
/* Adds a name to the path; gives what leave_path() needs to take it off again. */
size_t enter_path(const char *name);
void leave_path(size_t mark);

/* Ends the child when `result` is an error at the path. */
void expect(long result);

/* Becomes the request's user and says that the work begins. */
void begin_tree(const struct path_request *request);

/* A file system's number of a device, as statx(2) has it in two. */
static inline u32 device_number(u32 major, u32 minor) {
  return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffu) << 12;
}
