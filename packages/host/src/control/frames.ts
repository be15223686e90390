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
import { HostError } from '../failure.ts';

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
  readonly #frames: AsyncGenerator<Frame, undefined>;
  #isGone = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
    this.gone = new Promise((resolve) => {
      stream.once('close', () => {
        this.#isGone = true;
        resolve();
      });
    });
    stream.on('error', () => undefined);
    this.#frames = framesOf(stream);
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Resolves when there is room for more; what is sent to nobody is dropped. */
  async send(kind: FrameKind, payload: Uint8Array = new Uint8Array(0)): Promise<void> {
    if (this.#isGone || this.#stream.writableEnded) return;
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(payload.length + 1);
    header[4] = kind;
    this.#stream.cork();
    this.#stream.write(header);
    const hasRoom = this.#stream.write(payload);
    this.#stream.uncork();
    if (hasRoom) return;
    const room = new Promise<void>((resolve) => {
      this.#stream.once('drain', resolve);
    });
    await Promise.race([room, this.gone]);
  }

  sendJson(kind: FrameKind, value: unknown): Promise<void> {
    return this.send(kind, Buffer.from(JSON.stringify(value)));
  }

  /** The next frame, undefined at the end. Rejects with a HostError for what is none. */
  async next(): Promise<Frame | undefined> {
    const { value } = await this.#frames.next();
    return value;
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

async function* framesOf(stream: Duplex): AsyncGenerator<Frame, undefined> {
  let waiting: Buffer[] = [];
  let bytes = 0;
  let needed = HEADER_BYTES;
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      waiting.push(chunk);
      bytes += chunk.length;
      while (bytes >= needed) {
        const all: Buffer = waiting.length === 1 ? (waiting[0] ?? chunk) : Buffer.concat(waiting, bytes);
        const end = frameEnd(all);
        waiting = [all];
        needed = end;
        if (bytes < end) break;
        yield { kind: kindIn(all), payload: all.subarray(HEADER_BYTES, end) };
        waiting = [all.subarray(end)];
        bytes -= end;
        needed = HEADER_BYTES;
      }
    }
  } catch (error) {
    if (error instanceof HostError) throw error;
    // The connection broke, which is an end like any other.
  }
  return undefined;
}

/** Where the frame that begins here ends. */
function frameEnd(bytes: Buffer): number {
  const length = bytes.readUInt32BE();
  if (length < 1 || length > MAXIMUM_FRAME_BYTES + 1)
    throw new HostError('protocol', 'what came over the socket is no message of Ringfence');
  return length + HEADER_BYTES - 1;
}

function kindIn(bytes: Buffer): FrameKind {
  const kind = bytes[4] ?? 0;
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
