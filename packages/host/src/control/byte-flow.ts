/**
 * Reads a connection into buffers of whoever reads it. Node makes one of 64 KiB for each read otherwise: where much comes, to make, move and collect them
 * costs more than all that is done with the bytes.
 *
 * For a socket that was made by this process Node has `onread` for that (Node.js, "net"); one that was accepted, or is in the middle of something, gets the
 * same here by what `onread` sets. A Node that has it otherwise, and what is no socket, gives buffers of its own, which are copied.
 */

import type { Duplex } from 'node:stream';

/** Where what comes is put. */
export interface FlowInto {
  /** Room for the next bytes, a few at least. */
  room(): Uint8Array;
  /** So many have come into it. False when no more are wanted for now; some may come nevertheless. */
  came(bytes: number): boolean;
}

/** What a socket is to Node. */
interface Handle {
  readonly fd?: number;
  reading?: boolean;
  readStart(): void;
  readStop(): void;
  useUserBuffer(buffer: Uint8Array): void;
}

const HANDLE = '_handle';
const MEMBERS = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const;

export class ByteFlow {
  readonly #stream: Duplex;
  readonly #handle: Handle | undefined;

  /** Nobody else reads the stream from now on. */
  constructor(stream: Duplex, into: FlowInto) {
    this.#stream = stream;
    const members = Object.getOwnPropertySymbols(stream);
    const [buffer, came, next] = MEMBERS.map((name) => members.find(({ description }) => description === name));
    const handle = handleOf(stream);
    if (buffer && came && next && handle !== undefined && typeof handle.useUserBuffer === 'function') {
      const first = into.room();
      Object.assign(stream, {
        [buffer]: first,
        [came]: (bytes: number) => into.came(bytes),
        [next]: () => into.room(),
      });
      handle.useUserBuffer(first);
      this.#handle = handle;
      this.resume();
    } else
      stream.on('data', (chunk: Buffer) => {
        if (!pour(chunk, into)) stream.pause();
      });
  }

  /** After `came` was false. */
  resume(): void {
    if (this.#stream.destroyed) return;
    if (this.#handle === undefined) return void this.#stream.resume();
    this.#handle.reading = true;
    this.#handle.readStart();
  }

  /** Gives the number that the system knows the socket by, for who reads it himself from now on; undefined when it is gone, or has none. */
  detach(): number | undefined {
    const handle = this.#handle ?? handleOf(this.#stream);
    if (this.#stream.destroyed || handle?.fd === undefined || handle.fd < 0) return undefined;
    handle.readStop();
    return handle.fd;
  }
}

/** Gives bytes that have come already; false when no more are wanted. */
export function pour(bytes: Uint8Array, into: FlowInto): boolean {
  let isWanted = true;
  for (let at = 0; at < bytes.length;) {
    const part = bytes.subarray(at, at + into.room().length);
    into.room().set(part);
    at += part.length;
    isWanted = into.came(part.length);
  }
  return isWanted;
}

function handleOf(stream: Duplex): Handle | undefined {
  const { [HANDLE]: handle } = stream as unknown as Partial<Record<typeof HANDLE, Handle | null>>;
  return handle ?? undefined;
}
