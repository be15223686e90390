/* Users and groups as /etc/passwd and /etc/group have them. */

#pragma once

#include "base.h"

#define MAXIMUM_GROUPS 256

struct user {
  u32 uid;
  u32 gid;
  u32 groups[MAXIMUM_GROUPS];
  size_t group_count;
  char name[64];
  char home[256];
  char shell[256];
};

/*
 * Finds `NAME`, `UID`, `NAME:GROUP` and so on; nothing is root. A number needs no entry. 0, or -errno with the STAGE in `stage` and the
 * part that is wrong in `about`.
 */
long find_user(const char *spec, struct user *user, u8 *stage, const char **about);

/* Becomes that user for good. */
long become(const struct user *user);
