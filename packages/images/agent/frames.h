/* Frames to and from the host. */

#pragma once

#include "channel.h"

/* Bytes of a stream that the host takes before it says so again. */
extern u32 host_window;

/* The longest frame that says something; there is room for one when out_room() is at least that. */
#define LONGEST_WORD (FRAME_HEADER_BYTES + 4 + ABOUT_BYTES + 32)
size_t out_room(void);
/* Bytes of a stream that may be sent so that there is still room for such a frame; 0 when none may. */
size_t out_data_room(void);
/* Where a payload can be put before it is sent. */
u8 *out_payload(void);
void out_frame(u8 type, u8 stream, u32 channel, size_t size);
void out_failure(u32 channel, u8 stage, long error, const char *about);
/* Sends what the port takes; false when the port is broken. */
bool out_flush(int port);
bool out_is_empty(void);

enum in_result { IN_MORE, IN_WAIT, IN_ENDED, IN_BROKEN };
/* Reads what the host sent and obeys it. */
enum in_result in_read(int port);
/* Obeys what could not be obeyed for want of room; false when the host breaks the protocol. */
bool in_advance(void);
bool in_is_full(void);

/* A connection is over: what is in the buffers belongs to nobody. */
void frames_reset(void);
