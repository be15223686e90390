/* What both directions of a copy share. */

#include "tree.h"

char tree_path[TREE_PATH_BYTES];

size_t enter_path(const char *name) {
  size_t mark = strlen(tree_path);
  if (mark > 0 && tree_path[mark - 1] != '/') append(tree_path, sizeof tree_path, "/");
  append(tree_path, sizeof tree_path, name);
  return mark;
}

void leave_path(size_t mark) { tree_path[mark] = 0; }

void expect(long result) {
  if (result < 0) fail(STAGE_PATH, result, tree_path);
}

void begin_tree(const struct path_request *request) {
  static struct user user;
  u8 stage;
  const char *about;
  long result = find_user(request->user, &user, &stage, &about);
  if (result < 0) fail(stage, result, about);
  result = become(&user);
  if (result < 0) fail(STAGE_USER, result, user.name);
  copy_text(tree_path, sizeof tree_path, request->path);
  report_started(0);
}
