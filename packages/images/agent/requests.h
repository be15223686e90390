/* Requests that open a channel, checked. What they point to lies in the request. */

#pragma once

#include "agent.h"

/* EXEC. */
struct command {
  bool is_terminal, has_input;
  u16 columns, rows;
  const char *user, *workdir;
  u32 argument_count, variable_count;
  /* Arguments, then variables, each with its NUL. */
  const char *strings;
};
bool parse_command(const u8 *request, size_t size, struct command *command);

/* PACK and UNPACK. */
struct path_request {
  u32 flags;
  const char *user, *path;
};
bool parse_path_request(const u8 *request, size_t size, struct path_request *path);
