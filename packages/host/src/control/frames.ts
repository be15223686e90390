/**
 * What travels on a virtual machine's socket: one operation per connection (operations.ts), as frames in both directions.
 *
 *     be32 length of what follows | u8 kind | payload
 *
 *     client:  REQUEST  (INPUT* INPUT_END | STEP DATA* ... INPUT_END | EVENT)*
 *     server:  (STARTED | OUTPUT | ERROR_OUTPUT | STEP | DATA | CREDIT)*  RESULT or ERROR
 *
 * JSON in REQUEST, STARTED, EVENT, STEP, RESULT and ERROR; bytes in INPUT, OUTPUT, ERROR_OUTPUT; DATA has a be64 offset before its bytes;
 * CREDIT is a be32: as many bytes of INPUT were taken. A client has at most INPUT_WINDOW_BYTES on the way, so that its events are never
 * behind input that nobody takes. In the other directions the socket itself holds back who is too fast.
 */

import type { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { HostError } from '../failure.ts';
import { ByteFlow, type FlowInto, pour } from './byte-flow.ts';

export const FRAME = {
  REQUEST: 0,
  INPUT: 1,
  INPUT_END: 2,
  EVENT: 3,
  CREDIT: 4,
  STARTED: 5,
  OUTPUT: 6,
  ERROR_OUTPUT: 7,
  STEP: 8,
  DATA: 9,
  RESULT: 10,
  ERROR: 11,
} as const;

export type FrameKind = (typeof FRAME)[keyof typeof FRAME];

/** A frame's payload at the most: more than the largest command that Linux takes, in JSON. */
export const MAXIMUM_FRAME_BYTES = 16 * 1024 * 1024;
/** Bytes of INPUT, OUTPUT or DATA in one frame. */
export const CHUNK_BYTES = 64 * 1024;
export const INPUT_WINDOW_BYTES = 256 * 1024;
/** Length and kind. */
export const HEADER_BYTES = 5;
/** How long the other side may take to close when it was told that this one is done. */
const LINGER_MS = 2000;
const KINDS: ReadonlySet<number> = new Set(Object.values(FRAME));

export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

/** One end of a connection. */
export class FrameLink {
  /** Settles when the other side, or this one, is gone. */
  readonly gone: Promise<void>;
  readonly #stream: Duplex;
  readonly #frames = new FrameBytes();
  /** What all wait for who send without there being room. */
  #room: Promise<void> | undefined;
  #isGone = false;
  #hasEnded = false;
  #flow: ByteFlow | undefined;
  /** Who waits for more of them, or for the end. */
  #waiting: (() => void)[] = [];
  readonly #wake = (): void => {
    for (const wake of this.#waiting.splice(0)) wake();
  };

  constructor(stream: Duplex) {
    this.#stream = stream;
    this.gone = new Promise((resolve) => {
      stream.once('close', () => {
        this.#isGone = true;
        this.#hasEnded = true;
        resolve();
        this.#wake();
      });
    });
    stream.on('error', () => undefined);
    stream.once('end', () => {
      this.#hasEnded = true;
      this.#wake();
    });
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Resolves when there is room for more; what is sent to nobody is dropped. `sent` is called when the payload is not looked at any more. */
  async send(kind: FrameKind, payload: Uint8Array = new Uint8Array(0), sent?: () => void): Promise<void> {
    if (this.#isGone || this.#stream.writableEnded) return sent?.();
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    header.writeUInt32BE(payload.length + 1);
    header[4] = kind;
    this.#stream.cork();
    this.#stream.write(header);
    const hasRoom = this.#stream.write(payload, sent);
    this.#stream.uncork();
    if (hasRoom) return;
    await (this.#room ??= this.#untilRoom());
  }

  async #untilRoom(): Promise<void> {
    const room = new Promise<void>((resolve) => {
      this.#stream.once('drain', resolve);
    });
    await Promise.race([room, this.gone]);
    this.#room = undefined;
  }

  sendJson(kind: FrameKind, value: unknown): Promise<void> {
    return this.send(kind, Buffer.from(JSON.stringify(value)));
  }

  /** Sends whole frames as the bytes that they are; `sent` is called when they are not looked at any more. */
  sendFrames(frames: Uint8Array, sent: () => void): void {
    if (this.#isGone || this.#stream.writableEnded) sent();
    else this.#stream.write(frames, sent);
  }

  /** Bytes that wait to be sent. */
  get waitingBytes(): number {
    return this.#stream.writableLength;
  }

  /** The next frame, undefined at the end. Rejects with a HostError for what is none. */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.#frames.next();
      if (frame !== undefined) return frame;
      const chunk = this.#flow === undefined ? (this.#stream.read() as Buffer | null) : null;
      if (chunk !== null) this.#frames.add(chunk);
      else if (this.#hasEnded) return undefined;
      else await this.#more();
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#flow === undefined && this.#stream.listenerCount('readable') === 0)
        this.#stream.on('readable', this.#wake);
    });
  }

  /** Has the bytes of all frames that come from now on put elsewhere, as they come; `next` gives nothing but the end any more. */
  flow(into: FlowInto): ByteFlow {
    this.#stream.off('readable', this.#wake);
    const came = [this.#frames.rest()];
    for (let chunk = this.#stream.read() as Buffer | null; chunk !== null; chunk = this.#stream.read() as Buffer | null)
      came.push(chunk);
    for (const bytes of came) pour(bytes, into);
    this.#flow = new ByteFlow(this.#stream, into);
    return this.#flow;
  }

  /** Resolves when nothing comes any more, however that comes. */
  async over(): Promise<void> {
    while (!this.#hasEnded) await this.#more();
  }

  /**
   * Whether the other side has gone already that has asked for something and sends nothing more: looks at what has come, and asks the system once, in
   * the second turn from now.
   */
  async isLeft(): Promise<boolean> {
    // Reading is what shows it.
    this.next().catch(() => undefined);
    await turn();
    await turn();
    return this.#hasEnded;
  }

  /** Says that nothing more comes, and closes when the other side does: what it still sends must not make it lose what it was sent. */
  async end(): Promise<void> {
    this.#stream.end();
    const patience = setTimeout(() => this.destroy(), LINGER_MS);
    try {
      while ((await this.next()) !== undefined);
    } catch {
      // It says what makes no sense, and is not listened to any more.
    } finally {
      clearTimeout(patience);
      this.destroy();
    }
  }

  /** What it is made of, for who reads it in another way. */
  get stream(): Duplex {
    return this.#stream;
  }

  destroy(): void {
    this.#stream.destroy();
  }
}

/** Bytes that have come, as frames. */
class FrameBytes {
  #waiting: Buffer[] = [];
  #bytes = 0;
  /** Bytes without which it makes no sense to look again. */
  #needed = HEADER_BYTES;

  add(chunk: Buffer): void {
    this.#waiting.push(chunk);
    this.#bytes += chunk.length;
  }

  next(): Frame | undefined {
    while (this.#bytes >= this.#needed) {
      const all = this.#all();
      const end = frameEnd(all);
      this.#needed = end;
      if (this.#bytes < end) break;
      const frame = { kind: kindIn(all), payload: all.subarray(HEADER_BYTES, end) };
      this.#waiting = [all.subarray(end)];
      this.#bytes -= end;
      this.#needed = HEADER_BYTES;
      return frame;
    }
    return undefined;
  }

  /** What is no whole frame yet, and is not here any more. */
  rest(): Buffer {
    const rest = this.#all();
    this.#waiting = [];
    this.#bytes = 0;
    this.#needed = HEADER_BYTES;
    return rest;
  }

  #all(): Buffer {
    const [first = Buffer.alloc(0)] = this.#waiting;
    if (this.#waiting.length <= 1) return first;
    const all = Buffer.concat(this.#waiting, this.#bytes);
    this.#waiting = [all];
    return all;
  }
}

/** How many bytes the frame has that begins at `at`, as far as those before `end` say it; it may be none. */
export function frameBytes(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < HEADER_BYTES) return HEADER_BYTES;
  const length = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER_BYTES).getUint32(0);
  return HEADER_BYTES + Math.min(length, MAXIMUM_FRAME_BYTES);
}

/** Where the frame ends whose header is here. */
export function frameEnd(bytes: Uint8Array, at = 0): number {
  const length = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER_BYTES).getUint32(0);
  if (length < 1 || length > MAXIMUM_FRAME_BYTES + 1)
    throw new HostError('protocol', 'what came over the socket is no message of Ringfence');
  return at + length + HEADER_BYTES - 1;
}

export function kindIn(bytes: Uint8Array, at = 0): FrameKind {
  const kind = bytes[at + HEADER_BYTES - 1] ?? 0;
  if (!KINDS.has(kind)) throw new HostError('protocol', 'what came over the socket is no message of Ringfence');
  return kind as FrameKind;
}

/** The payload as JSON; rejects what is none. */
export function jsonIn({ payload }: Frame): unknown {
  try {
    return JSON.parse(payload.toString()) as unknown;
  } catch (error) {
    throw new HostError('protocol', 'what came over the socket is no message of Ringfence', error);
  }
}
