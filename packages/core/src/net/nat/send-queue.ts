/** Bytes on their way to a guest: kept as they came, in pieces, until the guest has acknowledged them. */

import { assert } from '../../base/assert.ts';

export class SendQueue {
  #pieces: Uint8Array[] = [];
  /** Pieces before this one are gone. */
  #first = 0;
  /** Octets of the first piece that are gone. */
  #skip = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Keeps `bytes` itself: nobody may change it any more. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#pieces.push(bytes);
    this.#length += bytes.length;
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    assert(count <= this.#length, `${count} bytes cannot be dropped from ${this.#length}`);
    this.#length -= count;
    let rest = count + this.#skip;
    for (;;) {
      const piece = this.#pieces[this.#first];
      if (piece === undefined || rest < piece.length) break;
      rest -= piece.length;
      this.#first++;
    }
    this.#skip = rest;
    // Moving what is left costs as much as it frees, so not every time.
    if (this.#first > 64 || this.#first === this.#pieces.length) {
      this.#pieces = this.#pieces.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Fills `into[at, at + length)` with the bytes from `offset` on. */
  copyTo(into: Uint8Array, at: number, offset: number, length: number): void {
    assert(
      offset + length <= this.#length,
      `bytes ${offset} to ${offset + length} are not in a queue of ${this.#length}`,
    );
    let skip = offset + this.#skip;
    let done = 0;
    for (let index = this.#first; done < length; index++) {
      const piece = this.#pieces[index];
      assert(piece !== undefined, 'a send queue is shorter than it says');
      if (skip >= piece.length) {
        skip -= piece.length;
        continue;
      }
      const count = Math.min(piece.length - skip, length - done);
      into.set(skip === 0 && count === piece.length ? piece : piece.subarray(skip, skip + count), at + done);
      skip = 0;
      done += count;
    }
  }

  clear(): void {
    this.#pieces = [];
    this.#first = 0;
    this.#skip = 0;
    this.#length = 0;
  }
}
