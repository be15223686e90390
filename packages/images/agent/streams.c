/*
 * The streams of a channel. Each side of each has a window, so whoever does not read stops one stream and nothing else.
 */

#include "streams.h"

#include "frames.h"

/* Output that is read at once; others have their turn then. */
#define TURN_BYTES (32u << 10)

/* What a person types: VEOF of a fresh terminal. */
static const u8 END_OF_FILE = 4;

/* Pipes of programs that have ended, held open by what they left behind: read and dropped. */
static int lingering[MAXIMUM_LINGERING];
static size_t lingering_count;

void close_fd(int *fd) {
  if (*fd >= 0) sys_close(*fd);
  *fd = -1;
}

static void drop_ring(struct channel *channel) {
  if (channel->ring != 0) free_pages(channel->ring, INPUT_WINDOW);
  channel->ring = 0;
  channel->ring_used = channel->ring_at = 0;
}

void close_input(struct channel *channel) {
  /* A terminal's is its output's, too. */
  if (channel->is_terminal) channel->in = -1;
  else close_fd(&channel->in);
  drop_ring(channel);
}

void close_output(struct channel *channel, int stream) {
  if (channel->is_terminal && stream == 0 && channel->in >= 0) close_input(channel);
  close_fd(&channel->out[stream]);
}

/* Gives the program what waits in the ring. */
void write_input(struct channel *channel) {
  while (channel->in >= 0 && channel->ring_used > 0) {
    u32 count = INPUT_WINDOW - channel->ring_at;
    if (count > channel->ring_used) count = channel->ring_used;
    long written = sys_write(channel->in, channel->ring + channel->ring_at, count);
    if (written == -EAGAIN || written == -EINTR) return;
    if (written <= 0) {
      close_input(channel);
      return;
    }
    channel->ring_at = (channel->ring_at + (u32)written) % INPUT_WINDOW;
    channel->ring_used -= (u32)written;
    channel->input_taken += (u32)written;
  }
  if (channel->ring_used > 0) return;
  drop_ring(channel);
  if (channel->in < 0 || !channel->input_ends) return;
  if (!channel->is_terminal) close_input(channel);
  else if (!channel->end_is_typed) channel->end_is_typed = sys_write(channel->in, &END_OF_FILE, 1) != -EAGAIN;
}

bool input_waits(const struct channel *channel) {
  bool end_waits = channel->is_terminal && channel->input_ends && !channel->end_is_typed;
  return channel->in >= 0 && (channel->ring_used > 0 || end_waits);
}

static void keep_input(struct channel *channel, const u8 *bytes, u32 size) {
  if (channel->ring == 0) channel->ring = pages(INPUT_WINDOW);
  if (channel->ring == 0) {
    close_input(channel);
    return;
  }
  /* The window has room for no more than the ring. */
  for (u32 done = 0; done < size;) {
    u32 at = (channel->ring_at + channel->ring_used) % INPUT_WINDOW;
    u32 count = INPUT_WINDOW - at;
    if (count > size - done) count = size - done;
    memcpy(channel->ring + at, bytes + done, count);
    channel->ring_used += count;
    done += count;
  }
}

bool take_input(struct channel *channel, const u8 *bytes, u32 size) {
  if (size > channel->input_room || channel->input_ends) return false;
  channel->input_room -= size;
  if (channel->in < 0) return true;
  if (channel->ring_used == 0 && size > 0) {
    long written = sys_write(channel->in, bytes, size);
    if (written > 0) {
      channel->input_taken += (u32)written;
      bytes += written;
      size -= (u32)written;
    } else if (written != -EAGAIN && written != -EINTR) {
      close_input(channel);
      return true;
    }
  }
  if (size > 0) keep_input(channel, bytes, size);
  return true;
}

void end_input(struct channel *channel) {
  channel->input_ends = true;
  write_input(channel);
}

/* Something else still has the pipe of a program that has ended: it must not come to harm when it writes. */
static void linger(struct channel *channel, int stream) {
  if (channel->is_terminal || channel->kind != PROCESS || lingering_count == MAXIMUM_LINGERING) {
    close_output(channel, stream);
    return;
  }
  lingering[lingering_count++] = channel->out[stream];
  channel->out[stream] = -1;
}

size_t lingering_polls(struct pollfd *fds) {
  for (size_t at = 0; at < lingering_count; at++) fds[at] = (struct pollfd){.fd = lingering[at], .events = POLLIN};
  return lingering_count;
}

void lingering_advance(void) {
  static u8 dropped[16 << 10];
  for (size_t at = 0; at < lingering_count;) {
    long size = sys_read(lingering[at], dropped, sizeof dropped);
    if (size > 0 || size == -EAGAIN || size == -EINTR) {
      at++;
      continue;
    }
    sys_close(lingering[at]);
    lingering[at] = lingering[--lingering_count];
  }
}

void read_output(struct channel *channel, int stream) {
  for (u32 turn = 0; channel->out[stream] >= 0 && channel->window[stream] > 0 && turn < TURN_BYTES;) {
    size_t room = out_data_room();
    /* To read nothing looks like the end. */
    if (room == 0) return;
    if (room > MAXIMUM_PAYLOAD_BYTES) room = MAXIMUM_PAYLOAD_BYTES;
    if (room > channel->window[stream]) room = channel->window[stream];
    long size = sys_read(channel->out[stream], out_payload(), room);
    if (size == -EINTR) continue;
    if (size > 0) {
      out_frame(FRAME_DATA, (u8)(stream + 1), channel->id, (size_t)size);
      channel->window[stream] -= (u32)size;
      turn += (u32)size;
      continue;
    }
    if (size != -EAGAIN) close_output(channel, stream);
    /* The program is gone and all that it wrote is read. */
    else if (channel->pid == 0) linger(channel, stream);
    return;
  }
}

void input_is_unread(int fd) {
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++)
    if (channels[at].kind != FREE && !channels[at].is_terminal && channels[at].in == fd) close_input(&channels[at]);
}

void lingering_close(void) {
  for (size_t at = 0; at < lingering_count; at++) sys_close(lingering[at]);
}
