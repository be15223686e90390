/*
 * Whether a program's output stays open while the buffer to the host is as good as full, for each number of bytes that it may still have room for. The exit
 * code is 0 when it does.
 */

#include <stdio.h>

#include "../../agent/frames.h"
#include "../../agent/streams.h"

static void fill(size_t left) {
  frames_reset();
  while (out_room() - left > MAXIMUM_PAYLOAD_BYTES + 2 * FRAME_HEADER_BYTES) out_frame(FRAME_DATA, 1, 1, MAXIMUM_PAYLOAD_BYTES);
  out_frame(FRAME_DATA, 1, 1, out_room() - left - FRAME_HEADER_BYTES);
}

int main(void) {
  for (size_t left = 0; left < 3 * LONGEST_WORD; left++) {
    int ends[2];
    if (sys_pipe(ends, O_NONBLOCK) != 0 || sys_write(ends[1], "said", 4) != 4) return 2;
    fill(left);
    if (out_room() != left) return 3;
    struct channel channel = {.kind = PROCESS, .pid = 1, .id = 1, .in = -1, .report = -1, .out = {ends[0], -1}, .window = {4, 4}};
    read_output(&channel, 0);
    if (channel.out[0] < 0) {
      fprintf(stderr, "closed with room for %zu bytes\n", left);
      return 1;
    }
    sys_close(ends[0]);
    sys_close(ends[1]);
  }
  return 0;
}
