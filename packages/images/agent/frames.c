/*
 * Frames: what came from the host is obeyed frame by frame, as long as there is room for an answer; what is to go waits in one buffer.
 * A host that does not take what it is sent stops being listened to, and nothing grows.
 */

#include "frames.h"

#include "power.h"

#define IN_BYTES (FRAME_HEADER_BYTES + MAXIMUM_PAYLOAD_BYTES)
#define OUT_BYTES (128u << 10)
/* Linux takes no more in one piece. */
#define WRITE_BYTES (32u << 10)

u32 host_window;

static u8 in[IN_BYTES];
static size_t in_size;
static bool is_greeted, is_refused;
/* The request that goes on in the next frame. */
static u8 *request;
static size_t request_size;
static u8 request_type;
static u32 request_channel;

static u8 out[OUT_BYTES];
static size_t out_begin, out_end;

void frames_reset(void) {
  in_size = 0;
  is_greeted = is_refused = false;
  if (request != 0) free_pages(request, MAXIMUM_REQUEST_BYTES);
  request = 0;
  out_begin = out_end = 0;
}

/* Out. */

size_t out_room(void) { return OUT_BYTES - out_end; }

size_t out_data_room(void) {
  size_t room = out_room(), kept = LONGEST_WORD + FRAME_HEADER_BYTES;
  return room > kept ? room - kept : 0;
}

u8 *out_payload(void) { return out + out_end + FRAME_HEADER_BYTES; }

void out_frame(u8 type, u8 stream, u32 channel, size_t size) {
  u8 *frame = out + out_end;
  put16(frame, (u16)size);
  frame[2] = type;
  frame[3] = stream;
  put32(frame + 4, channel);
  out_end += FRAME_HEADER_BYTES + size;
}

void out_failure(u32 channel, u8 stage, long error, const char *about) {
  u8 *payload = out_payload();
  put16(payload, (u16)-error);
  payload[2] = stage;
  payload[3] = 0;
  size_t size = strlen(about);
  memcpy(payload + 4, about, size);
  out_frame(FRAME_FAILED, 0, channel, 4 + size);
}

bool out_is_empty(void) { return out_begin == out_end; }

bool out_flush(int port) {
  while (out_begin < out_end) {
    size_t count = out_end - out_begin;
    long size = sys_write(port, out + out_begin, count > WRITE_BYTES ? WRITE_BYTES : count);
    if (size == -EINTR) continue;
    if (size == -EAGAIN) break;
    if (size <= 0) return false;
    out_begin += (size_t)size;
  }
  if (out_begin == out_end) out_begin = out_end = 0;
  else if (out_begin > OUT_BYTES / 2) {
    memmove(out, out + out_begin, out_end - out_begin);
    out_end -= out_begin;
    out_begin = 0;
  }
  return true;
}

/* In. */

static bool greet(const u8 *payload, size_t size) {
  size_t magic = strlen(HELLO_MAGIC);
  if (size < magic + 8 || memcmp(payload, HELLO_MAGIC, magic) != 0) return false;
  u16 lowest = get16(payload + magic), highest = get16(payload + magic + 2);
  host_window = get32(payload + magic + 4);
  is_greeted = true;
  u16 version = highest < HIGHEST_VERSION ? highest : HIGHEST_VERSION;
  if (version < LOWEST_VERSION || version < lowest) version = 0;
  is_refused = version == 0;

  u8 *answer = out_payload();
  memcpy(answer, HELLO_MAGIC, magic);
  put16(answer + magic, version);
  put16(answer + magic + 2, MAXIMUM_CHANNELS);
  put32(answer + magic + 4, INPUT_WINDOW);
  put64(answer + magic + 8, (u64)wall_ns());
  put32(answer + magic + 16, has_systemd() ? INIT_SYSTEMD : INIT_OTHER);
  size_t name = strlen(AGENT_NAME);
  memcpy(answer + AGENT_HELLO_BYTES, AGENT_NAME, name);
  out_frame(FRAME_HELLO, 0, 0, AGENT_HELLO_BYTES + name);
  return true;
}

static void answer_time(u32 channel, const u8 *body, size_t size) {
  s64 behind = 0;
  bool was_set = false;
  long result = size == 16 ? set_clock((s64)get64(body), get64(body + 8), &behind, &was_set) : -EINVAL;
  if (result < 0) {
    out_failure(channel, STAGE_CLOCK, result, "");
    return;
  }
  put64(out_payload(), (u64)behind);
  put32(out_payload() + 8, was_set);
  out_frame(FRAME_DONE, 0, channel, 12);
}

static void answer_shutdown(u32 channel, const u8 *body, size_t size) {
  long result = size == 4 && get32(body) <= SHUTDOWN_REBOOT ? shut_down(get32(body)) : -EINVAL;
  if (result < 0) out_failure(channel, STAGE_SHUTDOWN, result, "");
  else out_frame(FRAME_DONE, 0, channel, 0);
}

static void answer_identity(u32 channel, const u8 *body, size_t size) {
  size_t name = size >= 2 ? get16(body) : 0;
  long result = size >= 2 && name <= size - 2 ? set_identity(body + 2, name, body + 2 + name, size - 2 - name) : -EINVAL;
  if (result < 0) out_failure(channel, STAGE_IDENTITY, result, "");
  else out_frame(FRAME_DONE, 0, channel, 0);
}

static void answer_card(u32 channel, const u8 *body, size_t size) {
  long result = size == 2 * CARD_ADDRESS_BYTES ? change_card(body, body + CARD_ADDRESS_BYTES) : -EINVAL;
  if (result < 0) out_failure(channel, STAGE_CARD, result, "");
  else out_frame(FRAME_DONE, 0, channel, 0);
}

static bool take_request(u8 type, u32 channel, const u8 *body, size_t size) {
  if (channel == 0 || is_channel(channel)) return false;
  switch (type) {
    case FRAME_PING:
      if (size != 0) return false;
      out_frame(FRAME_PING, 0, channel, 0);
      return true;
    case FRAME_SET_TIME:
      answer_time(channel, body, size);
      return true;
    case FRAME_IDENTITY:
      answer_identity(channel, body, size);
      return true;
    case FRAME_CARD:
      answer_card(channel, body, size);
      return true;
    case FRAME_SHUTDOWN:
      answer_shutdown(channel, body, size);
      return true;
    case FRAME_EXEC:
    case FRAME_PACK:
    case FRAME_UNPACK:
    case FRAME_FREEZE:
      open_channel(type, channel, body, size);
      return true;
  }
  return false;
}

/* A frame of a request that has several. */
static bool gather(u8 type, u8 goes_on, u32 channel, const u8 *payload, size_t size) {
  if (request == 0) {
    request = pages(MAXIMUM_REQUEST_BYTES);
    if (request == 0) return false;
    request_size = 0;
    request_type = type;
    request_channel = channel;
  }
  if (type != request_type || channel != request_channel || size > MAXIMUM_REQUEST_BYTES - request_size) return false;
  memcpy(request + request_size, payload, size);
  request_size += size;
  if (goes_on == REQUEST_GOES_ON) return true;
  bool is_sound = take_request(type, channel, request, request_size);
  free_pages(request, MAXIMUM_REQUEST_BYTES);
  request = 0;
  return is_sound;
}

static bool take_frame(const u8 *frame, size_t size) {
  u8 type = frame[2], stream = frame[3];
  u32 channel = get32(frame + 4);
  const u8 *payload = frame + FRAME_HEADER_BYTES;
  if (is_refused) return true;
  if (is_greeted != (type != FRAME_HELLO)) return false;
  if (!is_greeted) return greet(payload, size);
  if (request != 0 || (type < FRAME_DATA && stream == REQUEST_GOES_ON)) return gather(type, stream, channel, payload, size);
  if (type >= FRAME_DATA) return channel_frame(type, stream, channel, payload, size);
  return stream == 0 && take_request(type, channel, payload, size);
}

bool in_is_full(void) { return in_size == IN_BYTES; }

bool in_advance(void) {
  size_t at = 0;
  bool is_sound = true;
  while (is_sound && in_size - at >= FRAME_HEADER_BYTES && out_room() >= LONGEST_WORD) {
    size_t size = get16(in + at);
    is_sound = size <= MAXIMUM_PAYLOAD_BYTES;
    if (!is_sound || in_size - at < FRAME_HEADER_BYTES + size) break;
    is_sound = take_frame(in + at, size);
    at += FRAME_HEADER_BYTES + size;
  }
  memmove(in, in + at, in_size - at);
  in_size -= at;
  return is_sound;
}

enum in_result in_read(int port) {
  if (in_is_full()) return IN_WAIT;
  long size = sys_read(port, in + in_size, IN_BYTES - in_size);
  if (size == -EAGAIN || size == -EINTR) return IN_WAIT;
  if (size == 0) return IN_ENDED;
  if (size < 0) return IN_BROKEN;
  in_size += (size_t)size;
  return in_advance() ? IN_MORE : IN_BROKEN;
}
