/* Users and groups as /etc/passwd and /etc/group have them: passwd(5), group(5). */

#include "users.h"

#include "protocol.h"

#define LARGEST_ID 0xfffffffeL
/* Larger files count as if they ended there. */
#define MAXIMUM_FILE_BYTES (4u << 20)
#define FIELDS 7

/* Cuts a line at its colons; gives how many fields there are. */
static size_t split(char *line, char **fields) {
  size_t count = 0;
  fields[count++] = line;
  for (; *line != 0 && count < FIELDS; line++)
    if (*line == ':') {
      *line = 0;
      fields[count++] = line + 1;
    }
  return count;
}

static bool is_member(const char *members, const char *name) {
  size_t size = strlen(name);
  for (;;) {
    if (strncmp(members, name, size) == 0 && (members[size] == ',' || members[size] == 0)) return true;
    members = find(members, ',');
    if (members == 0) return false;
    members++;
  }
}

/* Calls `take` for each line until it says that it is content. */
static void each_line(const char *path, bool (*take)(char *line, void *what), void *what) {
  char *text = pages(MAXIMUM_FILE_BYTES);
  if (text == 0) return;
  if (read_text(path, text, MAXIMUM_FILE_BYTES) > 0) {
    for (char *line = text; *line != 0;) {
      char *end = (char *)find(line, '\n');
      if (end != 0) *end = 0;
      if (take(line, what) || end == 0) break;
      line = end + 1;
    }
  }
  free_pages(text, MAXIMUM_FILE_BYTES);
}

struct passwd_search {
  const char *name;
  s64 uid;
  struct user *user;
  bool is_found;
};

static bool take_user(char *line, void *what) {
  struct passwd_search *search = what;
  char *fields[FIELDS];
  if (split(line, fields) < FIELDS) return false;
  s64 uid = parse_number(fields[2], LARGEST_ID), gid = parse_number(fields[3], LARGEST_ID);
  if (uid < 0 || gid < 0) return false;
  if (search->uid >= 0 ? uid != search->uid : strcmp(fields[0], search->name) != 0) return false;
  struct user *user = search->user;
  user->uid = (u32)uid;
  user->gid = (u32)gid;
  copy_text(user->name, sizeof user->name, fields[0]);
  copy_text(user->home, sizeof user->home, fields[5]);
  copy_text(user->shell, sizeof user->shell, fields[6]);
  search->is_found = true;
  return true;
}

struct group_search {
  const char *name;
  s64 gid;
};

static bool take_group(char *line, void *what) {
  struct group_search *search = what;
  char *fields[FIELDS];
  if (split(line, fields) < 3 || strcmp(fields[0], search->name) != 0) return false;
  search->gid = parse_number(fields[2], LARGEST_ID);
  return search->gid >= 0;
}

static bool take_membership(char *line, void *what) {
  struct user *user = what;
  char *fields[FIELDS];
  if (split(line, fields) < 4 || !is_member(fields[3], user->name)) return false;
  s64 gid = parse_number(fields[2], LARGEST_ID);
  if (gid >= 0 && gid != user->gid) user->groups[user->group_count++] = (u32)gid;
  return user->group_count == MAXIMUM_GROUPS;
}

static long find_group(const char *name, u32 *gid) {
  s64 number = parse_number(name, LARGEST_ID);
  struct group_search search = {name, number};
  if (number < 0) each_line("/etc/group", take_group, &search);
  if (search.gid < 0) return -ENOENT;
  *gid = (u32)search.gid;
  return 0;
}

long find_user(const char *spec, struct user *user, u8 *stage, const char **about) {
  static char name[256];
  const char *colon = find(spec, ':');
  memset(user, 0, sizeof *user);
  copy_text(name, sizeof name, spec);
  if (colon != 0 && (size_t)(colon - spec) < sizeof name) name[colon - spec] = 0;
  *stage = STAGE_USER;
  *about = name;
  if (strlen(spec) >= sizeof name) return -ENAMETOOLONG;

  s64 number = *name == 0 ? 0 : parse_number(name, LARGEST_ID);
  struct passwd_search search = {name, number, user, false};
  each_line("/etc/passwd", take_user, &search);
  if (!search.is_found) {
    if (number < 0) return -ENOENT;
    user->uid = user->gid = (u32)number;
    append_number(user->name, sizeof user->name, (u64)number);
  }
  if (*user->home == 0) copy_text(user->home, sizeof user->home, "/");
  if (*user->shell == 0) copy_text(user->shell, sizeof user->shell, "/bin/sh");
  if (colon != 0) {
    *stage = STAGE_GROUP;
    *about = colon + 1;
    return find_group(colon + 1, &user->gid);
  }
  user->groups[user->group_count++] = user->gid;
  if (search.is_found) each_line("/etc/group", take_membership, user);
  return 0;
}

long become(const struct user *user) {
#ifdef HOSTED
  /* Tests may run as anybody. */
  if (sys0(__NR_getuid) == user->uid) return 0;
#endif
  long result = sys2(__NR_setgroups, user->group_count, user->groups);
  if (result == 0) result = sys3(__NR_setresgid, user->gid, user->gid, user->gid);
  if (result == 0) result = sys3(__NR_setresuid, user->uid, user->uid, user->uid);
  return result;
}
