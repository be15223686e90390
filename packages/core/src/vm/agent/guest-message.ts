/**
 * What a guest's agent may send, checked once: bytes in, messages out. Whatever is not exactly such a message is a violation, after which
 * nothing of that connection counts.
 */

import {
  AGENT_HELLO_BYTES,
  EXIT,
  FRAME,
  FRAME_HEADER_BYTES,
  HELLO_MAGIC,
  INIT,
  MAXIMUM_AGENT_NAME_BYTES,
  MAXIMUM_PAYLOAD_BYTES,
  STREAM,
} from './protocol.ts';
import type { AgentExit } from './guest-agent.ts';
import { printable } from './printable.ts';

/** The guest broke the protocol; the message completes "The guest's agent sent ...". */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}

export type OutputStreamId = typeof STREAM.STDOUT | typeof STREAM.STDERR;

export type GuestMessage =
  | {
      readonly kind: 'hello';
      /** 0 when it speaks none of ours. */
      readonly version: number;
      readonly maximumChannels: number;
      readonly windowBytes: number;
      readonly wallNs: bigint;
      readonly init: 'systemd' | 'other';
      readonly agent: string;
    }
  | { readonly kind: 'ping'; readonly channel: number }
  | { readonly kind: 'data'; readonly channel: number; readonly stream: OutputStreamId; readonly bytes: Uint8Array }
  | { readonly kind: 'end'; readonly channel: number; readonly stream: OutputStreamId | typeof STREAM.STDIN }
  /** Of STDIN. */
  | { readonly kind: 'window'; readonly channel: number; readonly bytes: number }
  | { readonly kind: 'started'; readonly channel: number; readonly value: number }
  | { readonly kind: 'exited'; readonly channel: number; readonly exit: AgentExit }
  | {
      readonly kind: 'failed';
      readonly channel: number;
      readonly errno: number;
      readonly stage: number;
      readonly about: string;
    }
  | { readonly kind: 'done'; readonly channel: number; readonly body: Uint8Array };

/** Linux's waitpid() gives no more. */
const LARGEST_EXIT_CODE = 255;
const LARGEST_SIGNAL = 64;
const LARGEST_ERRNO = 4095;
const FAILED_BYTES = 4;

/** Cuts a stream into messages; keeps at most one frame that is not whole yet. */
export class GuestMessageDecoder {
  readonly #partial = new Uint8Array(FRAME_HEADER_BYTES + MAXIMUM_PAYLOAD_BYTES);
  #partialBytes = 0;
  #isGreeted: boolean;

  /** `greeted`: of a connection whose greeting was heard by another one. */
  constructor(from: 'greeting' | 'greeted' = 'greeting') {
    this.#isGreeted = from === 'greeted';
  }

  /** Whether it holds nothing of a frame. */
  get isEmpty(): boolean {
    return this.#partialBytes === 0;
  }

  /** Calls `take` for each message that is whole now. Throws a ProtocolViolation, after which the decoder is of no more use. */
  push(bytes: Uint8Array, take: (message: GuestMessage) => void): void {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#partialBytes > 0) {
        rest = this.#complete(rest, take);
        continue;
      }
      const end = rest.length < FRAME_HEADER_BYTES ? Infinity : FRAME_HEADER_BYTES + payloadBytes(rest);
      if (end > rest.length) {
        this.#keep(rest);
        return;
      }
      this.#take(rest.subarray(0, end), bytes.length, take);
      rest = rest.subarray(end);
    }
  }

  #keep(bytes: Uint8Array): void {
    this.#partial.set(bytes, this.#partialBytes);
    this.#partialBytes += bytes.length;
  }

  /** Adds to the partial frame what it lacks, its header first; gives what is behind. */
  #complete(rest: Uint8Array, take: (message: GuestMessage) => void): Uint8Array {
    const hasHeader = this.#partialBytes >= FRAME_HEADER_BYTES;
    const wanted = FRAME_HEADER_BYTES + (hasHeader ? payloadBytes(this.#partial) : 0);
    const added = Math.min(wanted - this.#partialBytes, rest.length);
    this.#keep(rest.subarray(0, added));
    if (this.#partialBytes >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + payloadBytes(this.#partial);
      if (this.#partialBytes === end) {
        this.#partialBytes = 0;
        this.#take(this.#partial.slice(0, end), end, take);
      }
    }
    return rest.subarray(added);
  }

  #take(frame: Uint8Array, held: number, take: (message: GuestMessage) => void): void {
    const message = decode(frame, held);
    if ((message.kind === 'hello') === this.#isGreeted)
      throw new ProtocolViolation(this.#isGreeted ? 'a second greeting' : 'something before its greeting');
    this.#isGreeted = true;
    take(message);
  }
}

function payloadBytes(frame: Uint8Array): number {
  const bytes = (frame[0] ?? 0) | ((frame[1] ?? 0) << 8);
  if (bytes > MAXIMUM_PAYLOAD_BYTES) throw new ProtocolViolation(`a frame of ${bytes} bytes`);
  return bytes;
}

/** `held` is how many bytes stay in memory with the frame: a small part of them is copied, so that it does not hold all of them. */
function decode(frame: Uint8Array, held: number): GuestMessage {
  const fields = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const type = fields.getUint8(2);
  const stream = fields.getUint8(3);
  const channel = fields.getUint32(4, true);
  const payload = frame.subarray(FRAME_HEADER_BYTES);
  const u32 = (at: number): number => fields.getUint32(FRAME_HEADER_BYTES + at, true);
  const expectBytes = (bytes: number): void => {
    if (payload.length !== bytes) throw new ProtocolViolation(`${payload.length} bytes in a message of type ${type}`);
  };

  switch (type) {
    case FRAME.HELLO:
      return hello(fields, payload);
    case FRAME.PING:
      expectBytes(0);
      return { kind: 'ping', channel };
    case FRAME.DATA:
      if (stream !== STREAM.STDOUT && stream !== STREAM.STDERR) break;
      return { kind: 'data', channel, stream, bytes: 2 * payload.length < held ? payload.slice() : payload };
    case FRAME.END:
      expectBytes(0);
      if (stream !== STREAM.STDIN && stream !== STREAM.STDOUT && stream !== STREAM.STDERR) break;
      return { kind: 'end', channel, stream };
    case FRAME.WINDOW:
      expectBytes(4);
      if (stream !== STREAM.STDIN) break;
      return { kind: 'window', channel, bytes: u32(0) };
    case FRAME.STARTED:
      expectBytes(4);
      return { kind: 'started', channel, value: u32(0) };
    case FRAME.EXITED:
      expectBytes(8);
      return { kind: 'exited', channel, exit: exit(u32(0), u32(4)) };
    case FRAME.FAILED: {
      if (payload.length < FAILED_BYTES) break;
      const errno = fields.getUint16(FRAME_HEADER_BYTES, true);
      if (errno === 0 || errno > LARGEST_ERRNO) throw new ProtocolViolation(`error number ${errno}`);
      const about = printable(payload.subarray(FAILED_BYTES));
      return { kind: 'failed', channel, errno, stage: fields.getUint8(FRAME_HEADER_BYTES + 2), about };
    }
    case FRAME.DONE:
      return { kind: 'done', channel, body: payload.slice() };
  }
  throw new ProtocolViolation(`a message of type ${type} for stream ${stream}, which no agent sends`);
}

function hello(fields: DataView, payload: Uint8Array): GuestMessage {
  const magic = String.fromCharCode(...payload.subarray(0, HELLO_MAGIC.length));
  if (payload.length < AGENT_HELLO_BYTES || magic !== HELLO_MAGIC)
    throw new ProtocolViolation('something other than a greeting');
  return {
    kind: 'hello',
    version: fields.getUint16(16, true),
    maximumChannels: fields.getUint16(18, true),
    windowBytes: fields.getUint32(20, true),
    wallNs: fields.getBigInt64(24, true),
    init: fields.getUint32(32, true) === INIT.SYSTEMD ? 'systemd' : 'other',
    agent: printable(payload.subarray(AGENT_HELLO_BYTES, AGENT_HELLO_BYTES + MAXIMUM_AGENT_NAME_BYTES)),
  };
}

function exit(kind: number, value: number): AgentExit {
  if (kind === EXIT.CODE && value <= LARGEST_EXIT_CODE) return { kind: 'exited', code: value };
  if (kind === EXIT.SIGNAL && value > 0 && value <= LARGEST_SIGNAL) return { kind: 'signaled', signal: value };
  throw new ProtocolViolation(`an end of kind ${kind} with ${value}`);
}
