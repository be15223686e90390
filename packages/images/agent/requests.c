/* Requests that open a channel, checked. */

#include "requests.h"

#define MAXIMUM_STRINGS 65536

/* The next text of a request, or 0 when it does not end in it. */
static const char *next_text(const u8 **at, const u8 *end) {
  const char *text = (const char *)*at;
  for (; *at < end; ++*at)
    if (**at == 0) {
      ++*at;
      return text;
    }
  return 0;
}

bool parse_command(const u8 *request, size_t size, struct command *command) {
  if (size < EXEC_REQUEST_BYTES) return false;
  u16 flags = get16(request);
  const u8 *at = request + EXEC_REQUEST_BYTES, *end = request + size;
  *command = (struct command){
      .is_terminal = (flags & EXEC_FLAG_TERMINAL) != 0,
      .has_input = (flags & EXEC_FLAG_NO_INPUT) == 0,
      .columns = get16(request + 2),
      .rows = get16(request + 4),
      .argument_count = get32(request + 8),
      .variable_count = get32(request + 12),
  };
  command->user = next_text(&at, end);
  command->workdir = next_text(&at, end);
  command->strings = (const char *)at;
  if (command->workdir == 0 || command->argument_count == 0 || command->argument_count > MAXIMUM_STRINGS ||
      command->variable_count > MAXIMUM_STRINGS)
    return false;
  for (u32 count = command->argument_count + command->variable_count; count > 0; count--)
    if (next_text(&at, end) == 0) return false;
  return at == end;
}

bool parse_path_request(const u8 *request, size_t size, struct path_request *path) {
  if (size < 4) return false;
  const u8 *at = request + 4, *end = request + size;
  path->flags = get32(request);
  path->user = next_text(&at, end);
  path->path = next_text(&at, end);
  return path->path != 0 && at == end && path->path[0] == '/' && strlen(path->path) <= MAXIMUM_PATH_BYTES;
}

