/* The streams of a channel, each with a window. */

#pragma once

#include "channel.h"

/* Pipes of ended programs that something still holds. */
#define MAXIMUM_LINGERING 32

void close_fd(int *fd);
void close_input(struct channel *channel);
void close_output(struct channel *channel, int stream);

/* Bytes of the host for the program; false when there are more than it may send. */
bool take_input(struct channel *channel, const u8 *bytes, u32 size);
void end_input(struct channel *channel);
/* Gives the program what waits. */
void write_input(struct channel *channel);
/* Something waits until the program takes it. */
bool input_waits(const struct channel *channel);
/* Nobody reads what is written to this end of a pipe. */
void input_is_unread(int fd);

/* Sends what the program has written, as far as the host takes it. */
void read_output(struct channel *channel, int stream);

size_t lingering_polls(struct pollfd *fds);
void lingering_advance(void);
void lingering_close(void);
