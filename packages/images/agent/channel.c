/*
 * What the host has opened: programs and workers with their pipes. Each side of each stream has a window, so whoever does not read stops
 * one stream and nothing else. What the host is to be told is kept as facts, and told when there is room for the words.
 */

#include "channel.h"

#include "children.h"
#include "frames.h"
#include "sessions.h"
#include "streams.h"

/* Between SIGHUP and SIGKILL of a session whose channel is closed. */
#define GRACE_MS 2000

struct channel channels[MAXIMUM_CHANNELS];

static struct channel *channel_of(u32 id) {
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++)
    if (channels[at].kind != FREE && !channels[at].is_closing && channels[at].id == id) return &channels[at];
  return 0;
}

bool is_channel(u32 id) { return channel_of(id) != 0; }

void close_fds_of_channels(void) {
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++) {
    struct channel *channel = &channels[at];
    if (channel->kind == FREE) continue;
    close_output(channel, 0);
    close_output(channel, 1);
    close_input(channel);
    close_fd(&channel->report);
  }
  lingering_close();
}

/* The child is waited for and the host knows all, or does not want to. */
static void free_if_over(struct channel *channel) {
  if (channel->pid != 0) return;
  bool is_told = channel->exit_told && channel->output_end_told[0] && channel->output_end_told[1];
  if (!channel->is_closing && !is_told) return;
  close_output(channel, 0);
  close_output(channel, 1);
  close_input(channel);
  close_fd(&channel->report);
  channel->kind = FREE;
}

/* Nothing more is sent about it; a child that still runs is asked to end. */
static void begin_closing(struct channel *channel) {
  channel->is_closing = true;
  /* A freezer thaws and a copy cleans up when its pipes end; what stands for the rest is killed. */
  if (channel->pid != 0 && channel->kind == PROCESS) {
    sys_kill(-channel->pid, SIGHUP);
    sys_kill(-channel->pid, SIGCONT);
  }
  if (channel->pid != 0 && channel->kind != FREEZE) channel->kill_at = now_ms() + GRACE_MS;
  close_output(channel, 0);
  close_output(channel, 1);
  close_input(channel);
  close_fd(&channel->report);
  free_if_over(channel);
}

void close_channels(void) {
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++)
    if (channels[at].kind != FREE && !channels[at].is_closing) begin_closing(&channels[at]);
}

/* Opening. */

static struct channel *new_channel(u32 id, enum channel_kind kind) {
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++)
    if (channels[at].kind == FREE) {
      channels[at] = (struct channel){
          .kind = kind,
          .id = id,
          .in = -1,
          .out = {-1, -1},
          .report = -1,
          .input_room = INPUT_WINDOW,
          .window = {host_window, host_window},
      };
      return &channels[at];
    }
  out_failure(id, STAGE_REQUEST, -EAGAIN, "");
  return 0;
}

static void start_or_refuse(struct channel *channel, long result) {
  if (result >= 0) return;
  out_failure(channel->id, channel->stage, result, "");
  channel->is_closing = true;
  free_if_over(channel);
}

void open_channel(u8 type, u32 id, const u8 *request, size_t size) {
  struct command command;
  struct path_request path;
  u32 milliseconds = 0;
  bool is_sound = type == FRAME_EXEC     ? parse_command(request, size, &command)
                  : type == FRAME_FREEZE ? size == 4 && (milliseconds = get32(request)) > 0
                                         : parse_path_request(request, size, &path);
  if (!is_sound) {
    out_failure(id, STAGE_REQUEST, -EINVAL, "");
    return;
  }
  enum channel_kind kind = type == FRAME_EXEC ? PROCESS : type == FRAME_FREEZE ? FREEZE : type == FRAME_PACK ? PACK : UNPACK;
  struct channel *channel = new_channel(id, kind);
  if (channel == 0) return;
  long result = kind == PROCESS  ? start_process(channel, &command)
                : kind == FREEZE ? start_worker(channel, freeze, &milliseconds)
                                 : start_worker(channel, kind == PACK ? pack : unpack, &path);
  start_or_refuse(channel, result);
}

/* Frames of the host. */

static void send_signal(const struct channel *channel, u32 signal) {
  if (channel->kind != PROCESS || channel->pid == 0 || signal == 0 || signal > 64) return;
  int group = 0;
  if (channel->is_terminal && channel->in >= 0 && sys_ioctl(channel->in, TIOCGPGRP, &group) == 0 && group > 1)
    sys_kill(-group, signal);
  else sys_kill(-channel->pid, signal);
}

bool channel_frame(u8 type, u8 stream, u32 id, const u8 *payload, size_t size) {
  struct channel *channel = channel_of(id);
  /* It may be over without the host knowing it yet. */
  if (channel == 0) return true;
  switch (type) {
    case FRAME_DATA:
      return stream == STREAM_STDIN && take_input(channel, payload, (u32)size);
    case FRAME_END:
      if (stream != STREAM_STDIN || size != 0) return false;
      end_input(channel);
      return true;
    case FRAME_WINDOW: {
      if ((stream != STREAM_STDOUT && stream != STREAM_STDERR) || size != 4) return false;
      u32 *window = &channel->window[stream - 1];
      u32 more = get32(payload);
      if (*window + more < *window) return false;
      *window += more;
      return true;
    }
    case FRAME_SIGNAL:
      if (size != 4) return false;
      send_signal(channel, get32(payload));
      return true;
    case FRAME_RESIZE: {
      if (size != 4) return false;
      struct winsize to = {.ws_col = get16(payload), .ws_row = get16(payload + 2)};
      if (channel->is_terminal && channel->out[0] >= 0) sys_ioctl(channel->out[0], TIOCSWINSZ, &to);
      return true;
    }
    case FRAME_CLOSE:
      if (size != 0) return false;
      begin_closing(channel);
      return true;
  }
  return false;
}

/* What children do. */

static void read_report(struct channel *channel) {
  struct report report;
  long size = sys_read(channel->report, &report, sizeof report);
  if (size == -EAGAIN || size == -EINTR) return;
  if (size == sizeof report) {
    if (report.kind == REPORT_STARTED) {
      channel->has_started = true;
      channel->start_value = report.value;
      return;
    }
    channel->has_failed = true;
    channel->stage = report.stage;
    channel->error = report.error;
    copy_text(channel->about, ABOUT_BYTES, report.about);
  } else if (channel->kind == PROCESS) {
    /* Running the program has closed it. */
    channel->has_started = true;
  } else if (!channel->has_started) {
    channel->has_failed = true;
    channel->stage = STAGE_RESOURCES;
    channel->error = EIO;
  }
  close_fd(&channel->report);
}

/* Says one fact, if there is room. */
static bool say(u8 type, u8 stream, u32 id, u32 one, u32 two, size_t size) {
  if (out_room() < LONGEST_WORD) return false;
  put32(out_payload(), one);
  put32(out_payload() + 4, two);
  out_frame(type, stream, id, size);
  return true;
}

static void tell_failure(struct channel *channel) {
  if (out_room() < LONGEST_WORD) return;
  out_failure(channel->id, channel->stage, -(long)(channel->error == 0 ? EIO : channel->error), channel->about);
  begin_closing(channel);
}

void channel_advance(struct channel *channel) {
  if (channel->is_closing) return;
  if (channel->report >= 0) read_report(channel);
  /* Whoever ends has written its report before. */
  if (channel->pid == 0 && channel->report >= 0) read_report(channel);
  if (channel->has_failed) {
    tell_failure(channel);
    return;
  }
  u32 id = channel->id;
  if (channel->has_started && !channel->start_told) {
    channel->start_told = say(FRAME_STARTED, 0, id, channel->start_value, 0, 4);
  }
  if (!channel->start_told) return;

  write_input(channel);
  if (channel->in >= 0 && channel->input_taken >= INPUT_WINDOW / 4 &&
      say(FRAME_WINDOW, STREAM_STDIN, id, channel->input_taken, 0, 4)) {
    channel->input_room += channel->input_taken;
    channel->input_taken = 0;
  }
  if (channel->in < 0 && !channel->input_end_told && !channel->input_ends)
    channel->input_end_told = say(FRAME_END, STREAM_STDIN, id, 0, 0, 0);
  for (int stream = 0; stream < 2; stream++) {
    read_output(channel, stream);
    if (channel->out[stream] < 0 && !channel->output_end_told[stream])
      channel->output_end_told[stream] = say(FRAME_END, (u8)(stream + 1), id, 0, 0, 0);
  }
  if (channel->pid == 0 && !channel->exit_told && channel->report < 0)
    channel->exit_told = say(FRAME_EXITED, 0, id, channel->exit_kind, channel->exit_value, 8);
  free_if_over(channel);
}

size_t channel_polls(const struct channel *channel, struct pollfd *fds) {
  size_t count = 0;
  if (channel->kind == FREE || channel->is_closing) return 0;
  if (channel->report >= 0) fds[count++] = (struct pollfd){.fd = channel->report, .events = POLLIN};
  if (!channel->start_told) return count;
  bool has_room = out_data_room() > 0;
  /* Asked for nothing, it still says when nobody reads it any more. */
  if (channel->in >= 0 && !channel->is_terminal && !channel->input_end_told)
    fds[count++] = (struct pollfd){.fd = channel->in, .events = input_waits(channel) ? POLLOUT : 0};
  for (int stream = 0; stream < 2; stream++) {
    bool wants = has_room && channel->window[stream] > 0;
    short events = wants ? POLLIN : 0;
    if (stream == 0 && channel->is_terminal && input_waits(channel)) events |= POLLOUT;
    if (channel->out[stream] >= 0 && events != 0)
      fds[count++] = (struct pollfd){.fd = channel->out[stream], .events = events};
  }
  return count;
}

/* What a program wrote last is read without waiting for more of it. */
bool channel_is_urgent(const struct channel *channel) {
  if (channel->kind == FREE || channel->is_closing || channel->pid != 0 || !channel->start_told) return false;
  if (out_data_room() == 0) return false;
  return (channel->out[0] >= 0 && channel->window[0] > 0) || (channel->out[1] >= 0 && channel->window[1] > 0);
}

/* Children that have ended. */

static void ended(int pid, u32 status) {
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++) {
    struct channel *channel = &channels[at];
    if (channel->kind == FREE || channel->pid != pid) continue;
    channel->pid = 0;
    bool is_signal = (status & 0x7f) != 0;
    channel->exit_kind = is_signal ? EXIT_SIGNAL : EXIT_CODE;
    channel->exit_value = is_signal ? status & 0x7f : status >> 8 & 0xff;
    free_if_over(channel);
  }
}

static bool is_closing_leader(int pid) {
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++)
    if (channels[at].kind == PROCESS && channels[at].is_closing && !channels[at].has_failed && channels[at].pid == pid) return true;
  return false;
}

void reap(void) {
  for (;;) {
    /* siginfo_t of SIGCHLD on 64-bit Linux: signal, errno, code, -, pid. */
    int info[32] = {0};
    if (sys_waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) < 0 || info[4] == 0) return;
    int pid = info[4];
    u32 status = 0;
    /* Until it is waited for, no other process can have its number. */
    if (is_closing_leader(pid)) kill_session(pid);
    if (sys_wait4(pid, &status, WNOHANG) == pid) ended(pid, status);
  }
}

s64 channels_due(void) {
  s64 due = -1, now = now_ms();
  for (size_t at = 0; at < MAXIMUM_CHANNELS; at++) {
    struct channel *channel = &channels[at];
    if (channel->kind == FREE || channel->kill_at == 0 || channel->pid == 0) continue;
    if (channel->kill_at <= now) {
      kill_session(channel->pid);
      channel->kill_at = 0;
    } else if (due < 0 || channel->kill_at < due) due = channel->kill_at;
  }
  return due;
}
