/* Children of the agent: how they are made, what they tell, and what they do. */

#pragma once

#include "channel.h"
#include "requests.h"

/* Makes the child of a channel. 0, or -errno with the STAGE in the channel. */
long start_process(struct channel *channel, const struct command *command);
long start_worker(struct channel *channel, void (*work)(const void *), const void *argument);

/* What a child writes into its report pipe in one piece. */
struct report {
  u8 kind;
  u8 stage;
  u16 error;
  u32 value;
  char about[ABOUT_BYTES];
};
#define REPORT_STARTED 1
#define REPORT_FAILED 2
/* The report pipe in a child. */
#define REPORT_FD 3

/* In a child: ends it with a report of what went wrong. */
_Noreturn void fail(u8 stage, long error, const char *about);
void report_started(u32 value);

/* What children do; the argument is what the name says. */
_Noreturn void become_program(const struct command *command);
void pack(const void *path_request);
void unpack(const void *path_request);
void freeze(const void *milliseconds);
