/** Frames that are read where they came, from one buffer that is used again and again. */

import type { FlowInto } from './byte-flow.ts';
import { type Frame, frameBytes, frameEnd, HEADER_BYTES, kindIn } from './frames.ts';

/** Frames of usual length, some of them: what is not whole yet is moved when the buffer's end is near. */
const BUFFER_BYTES = 1024 * 1024;
const LEAST_ROOM_BYTES = 64 * 1024;

export class FramesInPlace implements FlowInto {
  #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #start = 0;
  #end = 0;

  /** What `next` gave is overwritten by what comes here. */
  room(): Uint8Array {
    const bytes = this.#end - this.#start;
    const needed = Math.max(LEAST_ROOM_BYTES, frameBytes(this.#buffer, this.#start, this.#end) - bytes);
    if (this.#buffer.length - this.#end < needed) {
      const whole = bytes + needed;
      const to = whole <= this.#buffer.length ? this.#buffer : Buffer.allocUnsafeSlow(whole);
      this.#buffer.copy(to, 0, this.#start, this.#end);
      [this.#buffer, this.#start, this.#end] = [to, 0, bytes];
    }
    return this.#buffer.subarray(this.#end);
  }

  came(bytes: number): boolean {
    this.#end += bytes;
    return true;
  }

  /** The next one that is whole, until there is `room` for more. Throws a HostError for what is none. */
  next(): Frame | undefined {
    if (this.#end - this.#start < HEADER_BYTES) return undefined;
    const end = frameEnd(this.#buffer, this.#start);
    if (end > this.#end) return undefined;
    const kind = kindIn(this.#buffer, this.#start);
    const payload = this.#buffer.subarray(this.#start + HEADER_BYTES, end);
    this.#start = end;
    return { kind, payload };
  }
}
