/* What the host has opened: programs and workers with their pipes. */

#pragma once

#include "agent.h"

/* Things under way at once. */
#define MAXIMUM_CHANNELS 64
/* Bytes for a program's input that wait here until it reads them. */
#define INPUT_WINDOW (64u << 10)
/* Text of what a failure is about, with its NUL. */
#define ABOUT_BYTES 240
/* Descriptors of one channel that are waited for. */
#define CHANNEL_FDS 4

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
  bool input_ends, end_is_typed;
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

extern struct channel channels[MAXIMUM_CHANNELS];

/* Starts what a request asks for, or says why not. */
void open_channel(u8 type, u32 id, const u8 *request, size_t size);
bool is_channel(u32 id);
/* A frame on an open channel; false when it breaks the protocol. */
bool channel_frame(u8 type, u8 stream, u32 id, const u8 *payload, size_t size);
/* Does what can be done without waiting. */
void channel_advance(struct channel *channel);
/* What to wait for; how many there are. */
size_t channel_polls(const struct channel *channel, struct pollfd *fds);
/* There is something to do that is not to be waited for. */
bool channel_is_urgent(const struct channel *channel);
/* The host is gone: nothing of it goes on. */
void close_channels(void);
/* Waits for children that have ended. */
void reap(void);
/* Does what is due; the next moment at which something is, in milliseconds of now_ms(), -1 when nothing is. */
s64 channels_due(void);
void close_fds_of_channels(void);
