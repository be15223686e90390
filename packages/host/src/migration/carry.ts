/**
 * What daemons do with messages of a migration: they carry them on, whole, as the bytes that they are, and neither look into them nor copy them.
 *
 *     from == its bytes ==> buffers, used again ==> the frames DATA among them, as many as are whole, in one piece ==> to
 *                                             '---> other frames, one after the other --> `hear`
 */

import type { ByteFlow, FlowInto } from '../control/byte-flow.ts';
import { FRAME, type Frame, frameBytes, frameEnd, type FrameLink, HEADER_BYTES, kindIn } from '../control/frames.ts';

/** Of usual frames there are some in a buffer: what is not whole in one is copied to the next. */
const BUFFER_BYTES = 1024 * 1024;
const LEAST_ROOM_BYTES = 64 * 1024;
/** Bytes that may wait to be sent, so that a link is busy while who fills it waits for a processor. */
const AHEAD_BYTES = 2 * 1024 * 1024;

/** Resolves at the end of `from`, however that comes, when all has been carried and heard. */
export async function carry(from: FrameLink, to: CarriedTo, hear: (frame: Frame) => unknown): Promise<void> {
  const carried = new CarriedFrames(from, to, hear);
  await from.over();
  await carried.end();
  from.destroy();
}

/** Where frames are carried. */
export type CarriedTo = Pick<FrameLink, 'sendFrames'>;

interface CarryBuffer {
  readonly bytes: Buffer;
  /** Pieces of it that are being sent. */
  sending: number;
}

class CarriedFrames implements FlowInto {
  readonly #from: FrameLink;
  readonly #to: CarriedTo;
  readonly #hear: (frame: Frame) => unknown;
  readonly #free: CarryBuffer[] = [];
  readonly #flow: ByteFlow;
  #buffer: CarryBuffer = made(BUFFER_BYTES);
  #start = 0;
  #end = 0;
  #sendingBytes = 0;
  #isPaused = false;
  #isScheduled = false;
  #hasFailed = false;
  #heard: Promise<unknown> = Promise.resolve();

  constructor(from: FrameLink, to: CarriedTo, hear: (frame: Frame) => unknown) {
    this.#from = from;
    this.#to = to;
    this.#hear = hear;
    this.#flow = from.flow(this);
  }

  room(): Uint8Array {
    const left = this.#end - this.#start;
    const needed = Math.max(LEAST_ROOM_BYTES, frameBytes(this.#buffer.bytes, this.#start, this.#end) - left);
    if (this.#buffer.bytes.length - this.#end < needed) {
      const before = this.#buffer;
      this.#buffer = (left + needed <= BUFFER_BYTES ? this.#free.pop() : undefined) ?? made(Math.max(BUFFER_BYTES, left + needed)); // prettier-ignore
      before.bytes.copy(this.#buffer.bytes, 0, this.#start, this.#end);
      [this.#start, this.#end] = [0, left];
      this.#isFree(before);
    }
    return this.#buffer.bytes.subarray(this.#end);
  }

  came(bytes: number): boolean {
    if (this.#hasFailed) return false;
    this.#end += bytes;
    // Of a TLS connection come 16 KiB at a time.
    if (this.#buffer.bytes.length - this.#end < LEAST_ROOM_BYTES) this.#pass();
    else if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(() => this.#pass());
    }
    this.#isPaused ||= this.#sendingBytes > AHEAD_BYTES;
    return !this.#isPaused;
  }

  async end(): Promise<void> {
    this.#pass();
    await this.#heard;
  }

  /** Carries on what is whole. */
  #pass(): void {
    this.#isScheduled = false;
    if (this.#hasFailed) return;
    try {
      const { bytes } = this.#buffer;
      for (let at = this.#start; ;) {
        const end = this.#end - at < HEADER_BYTES ? Infinity : frameEnd(bytes, at);
        const isData = end <= this.#end && kindIn(bytes, at) === FRAME.DATA;
        if (!isData) {
          this.#send(bytes.subarray(this.#start, at));
          this.#start = at;
          if (end > this.#end) return;
          this.#tell({ kind: kindIn(bytes, at), payload: Buffer.from(bytes.subarray(at + HEADER_BYTES, end)) });
          this.#start = end;
        }
        at = end;
      }
    } catch {
      this.#fail();
    }
  }

  #send(piece: Buffer): void {
    if (piece.length === 0) return;
    const buffer = this.#buffer;
    buffer.sending++;
    this.#sendingBytes += piece.length;
    this.#to.sendFrames(piece, () => {
      buffer.sending--;
      this.#sendingBytes -= piece.length;
      if (buffer !== this.#buffer) this.#isFree(buffer);
      if (!this.#isPaused || this.#sendingBytes > AHEAD_BYTES / 2) return;
      this.#isPaused = false;
      this.#flow.resume();
    });
  }

  #tell(frame: Frame): void {
    this.#heard = this.#heard.then(() => this.#hear(frame)).catch(() => this.#fail());
  }

  #isFree(buffer: CarryBuffer): void {
    if (buffer.sending === 0 && buffer.bytes.length === BUFFER_BYTES) this.#free.push(buffer);
  }

  /** What makes no sense is the end of it. */
  #fail(): void {
    this.#hasFailed = true;
    this.#from.destroy();
  }
}

function made(bytes: number): CarryBuffer {
  return { bytes: Buffer.allocUnsafeSlow(bytes), sending: 0 };
}
