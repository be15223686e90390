/*
 * The agent in a guest: one process that waits for everything at once, and a child for each thing that could take long.
 *
 *     port --frames--> channels --pipes--> children: programs (process.c), copies (pack.c, unpack.c), freezing (freeze.c), the end (power.c)
 *
 * docs/guest-agent.md says what it does. Nothing that the host sends may make it crash, wait or grow without bounds.
 */

#pragma once

#include "base.h"
#include "protocol.h"

#define AGENT_NAME "ringfence-agent 1"

/* Things under way at once. */
#define MAXIMUM_CHANNELS 64
/* Bytes for a program's input that wait here until it reads them. */
#define INPUT_WINDOW (64u << 10)
/* What a child says of itself, see struct report. */
#define ABOUT_BYTES 240

enum channel_kind { FREE, PROCESS, PACK, UNPACK, FREEZE };

struct channel {
  enum channel_kind kind;
  u32 id;
  /* The host has closed it or is gone: nothing is sent any more, and it is free as soon as its child has ended. */
  bool is_closing;
  /* When a child of a channel that is closing is killed; 0 when it was or is not to be. */
  s64 kill_at;
  /* 0 when it was waited for. */
  int pid;

  /* Our ends. -1 when closed. A terminal's is in both `in` and `out[0]`. */
  int in, out[2], report;
  bool is_terminal;

  /* Towards the program: a ring of INPUT_WINDOW bytes, made when it is needed. */
  u8 *ring;
  u32 ring_at, ring_used;
  bool input_ends;
  /* Bytes the host may still send, and bytes that the program took and the host does not know of. */
  u32 input_room, input_taken;

  /* Bytes the host takes. */
  u32 window[2];

  /* What the host is to be told. */
  bool has_started, start_told, has_failed, exit_told, input_end_told, output_end_told[2];
  u32 start_value, exit_kind, exit_value;
  u8 stage;
  u16 error;
  char about[ABOUT_BYTES];
};

/* What a child writes into its report pipe in one piece. */
struct report {
  u8 kind; /* REPORT_STARTED, REPORT_FAILED */
  u8 stage;
  u16 error;
  u32 value;
  char about[ABOUT_BYTES];
};
#define REPORT_STARTED 1
#define REPORT_FAILED 2

/* The pipe of reports; in children. */
#define REPORT_FD 3

/* process.c */

/* Ends this child with a report of what went wrong. */
_Noreturn void fail(u8 stage, long error, const char *about);
void report_started(u32 value);
/* What an EXEC request says, checked. Everything points into the request. */
struct command {
  bool is_terminal, has_input;
  u16 columns, rows;
  const char *user, *workdir;
  u32 argument_count, variable_count;
  const char *strings; /* arguments, then variables */
};
bool parse_command(const u8 *request, size_t size, struct command *command);
/* What PACK and UNPACK say. */
struct path_request {
  u32 flags;
  const char *user, *path;
};
bool parse_path_request(const u8 *request, size_t size, struct path_request *path);
/* Makes the child of a channel. 0, or -errno with the STAGE in the channel. */
long start_process(struct channel *channel, const struct command *command);
long start_worker(struct channel *channel, void (*work)(const void *), const void *argument);
/* Kills all that is left of a session whose leader has not been waited for yet. */
void kill_session(int leader);
/* pgrp, session and flags of a process; false when it is gone. */
bool process_facts(long pid, s64 *parent, s64 *session, s64 *flags);
/* Calls `take` for each process. */
void each_process(void (*take)(long pid, void *what), void *what);

/* Children that do not run a program; the argument is what the name says. */
void pack(const void *path_request);
void unpack(const void *path_request);
void freeze(const void *milliseconds);

/* power.c */
bool has_systemd(void);
/* Begins; 0 or -errno. */
long shut_down(u32 how);

/* channel.c: what the host asked, and what becomes of it. */
extern struct channel channels[MAXIMUM_CHANNELS];
void open_channel(u8 type, u32 id, const u8 *request, size_t size);
/* A frame on an open channel; false when it breaks the protocol. */
bool channel_frame(u8 type, u8 stream, u32 id, const u8 *payload, size_t size);
bool is_channel(u32 id);
/* The host is gone: nothing of it goes on. */
void close_channels(void);
/* Waits for children that have ended. */
void reap(void);
/* Does for a channel what can be done, `revents` being what poll said of its pipes. */
#define CHANNEL_FDS 4
size_t channel_polls(const struct channel *channel, struct pollfd *fds);
void channel_advance(struct channel *channel);
bool channel_is_urgent(const struct channel *channel);
size_t lingering_polls(struct pollfd *fds);
void lingering_advance(void);
#define MAXIMUM_LINGERING 32
/* The next moment at which something is due, in milliseconds of now_ms(); -1 when nothing is. */
s64 channels_due(void);
void close_fds_of_channels(void);
/* main.c: in a worker. */
void close_fds_of_agent(void);
/* The end of the machine is under way. */
extern bool is_shutting_down;

/* frames.c: what goes to the host and comes from it. */
extern u32 host_window;
size_t out_room(void);
/* The longest frame that says something; room for one is there when out_room() is at least that. */
#define LONGEST_WORD (FRAME_HEADER_BYTES + 4 + ABOUT_BYTES + 32)
/* Where a payload can be put before it is sent. */
u8 *out_payload(void);
void out_frame(u8 type, u8 stream, u32 channel, size_t size);
/* Sends what the port takes; false when the port is broken. */
bool out_flush(int port);
bool out_is_empty(void);
/* Reads what the host sent and obeys it. */
enum in_result { IN_MORE, IN_WAIT, IN_ENDED, IN_BROKEN };
enum in_result in_read(int port);
/* Obeys what could not be obeyed for want of room; false when the host breaks the protocol. */
bool in_advance(void);
bool in_is_full(void);
/* A connection is over: what is in the buffers belongs to nobody. */
void frames_reset(void);

/* port.c */
int open_port(void);
/* A socket on which the kernel tells of new devices; -1 when there is none. */
int open_device_news(void);

long set_clock(s64 wall_ns, u64 tolerance_ns, s64 *behind_ns, bool *was_set);
s64 wall_ns(void);
