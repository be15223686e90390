/**
 * A stream out of the guest, as the host holds it. The guest may send as much as the window says; what is taken opens the window again.
 *
 *     DATA --> pieces (at most HOST_WINDOW_BYTES) --> whoever iterates --> WINDOW
 */

import { KiB } from '../../base/numbers.ts';
import type { AgentOutput } from './guest-agent.ts';
import { ProtocolViolation } from './guest-message.ts';
import { HOST_WINDOW_BYTES } from './limits.ts';

/** Smaller pieces are put together, so that many tiny ones take no more memory than few large ones. */
const SMALL_PIECE_BYTES = 2 * KiB;
const GATHERED_BYTES = 8 * KiB;

export class OutputStream implements AgentOutput {
  readonly #openWindow: (bytes: number) => void;
  #pieces: Uint8Array[] = [];
  /** The last piece is the beginning of this, and so much of it is used. */
  #gathering: { readonly bytes: Uint8Array; used: number } | undefined;
  #held = 0;
  /** Bytes that were taken and that the guest does not know of yet. */
  #taken = 0;
  #end: 'open' | 'ended' | { readonly error: Error } = 'open';
  #isDiscarded = false;
  #isIterated = false;
  #wake: () => void = () => {};

  constructor(openWindow: (bytes: number) => void) {
    this.#openWindow = openWindow;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    if (this.#isIterated) throw new Error('a stream out of the guest was iterated twice');
    this.#isIterated = true;
    return {
      next: () => this.#next(),
      return: () => {
        this.discard();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  discard(): void {
    this.#isDiscarded = true;
    this.#drop();
    this.#wake();
  }

  get hasEnded(): boolean {
    return this.#end !== 'open';
  }

  // The connection's side.

  push(bytes: Uint8Array): void {
    if (this.#end !== 'open') throw new ProtocolViolation('data behind the end of a stream');
    if (this.#held + this.#taken + bytes.length > HOST_WINDOW_BYTES)
      throw new ProtocolViolation('more data than it was allowed to');
    if (bytes.length === 0) return;
    this.#held += bytes.length;
    if (bytes.length >= SMALL_PIECE_BYTES) {
      this.#pieces.push(bytes);
      this.#gathering = undefined;
    } else this.#gather(bytes);
    if (this.#isDiscarded) this.#drop();
    this.#wake();
  }

  end(): void {
    if (this.#end === 'open') this.#end = 'ended';
    this.#wake();
  }

  /** Whoever iterates gets what is there, and then the error. */
  fail(error: Error): void {
    if (this.#end === 'open') this.#end = { error };
    this.#wake();
  }

  #gather(bytes: Uint8Array): void {
    let gathering = this.#gathering;
    if (gathering === undefined || gathering.used + bytes.length > GATHERED_BYTES) {
      gathering = { bytes: new Uint8Array(GATHERED_BYTES), used: 0 };
      this.#pieces.push(gathering.bytes);
    }
    gathering.bytes.set(bytes, gathering.used);
    gathering.used += bytes.length;
    this.#gathering = gathering;
    this.#pieces[this.#pieces.length - 1] = gathering.bytes.subarray(0, gathering.used);
  }

  async #next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        if (this.#pieces.length === 0) this.#gathering = undefined;
        this.#held -= piece.length;
        this.#took(piece.length);
        return { done: false, value: piece };
      }
      if (this.#isDiscarded || this.#end === 'ended') return { done: true, value: undefined };
      if (this.#end !== 'open') throw this.#end.error;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #drop(): void {
    const dropped = this.#held;
    this.#pieces = [];
    this.#gathering = undefined;
    this.#held = 0;
    this.#took(dropped);
  }

  #took(bytes: number): void {
    this.#taken += bytes;
    if (this.#end !== 'open' || this.#taken < HOST_WINDOW_BYTES / 2) return;
    this.#openWindow(this.#taken);
    this.#taken = 0;
  }
}
