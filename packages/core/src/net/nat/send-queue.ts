/**
 * Bytes on their way to a guest, kept until the guest has acknowledged them: copies, in blocks that are used again and again.
 *
 *     push --> [ piece: a block, filled so far | piece | piece ] --copyTo--> frames
 *                 \-- drop: the first bytes are gone; a block without any goes back to the spare ones
 */

import { assert, AssertionFailure } from '../../base/assert.ts';

/** What a host reads at once, as a rule. */
const BLOCK_BYTES = 64 * 1024;
/** Fewer bytes that find no room in a block get memory of their own: many connections wait with little. */
const LEAST_FOR_BLOCK = 4096;
/** No piece has less, whatever little comes at once: what follows fills it. */
export const MINIMUM_PIECE_BYTES = 1024;
/** Blocks of all queues together that wait to be used again. */
const MAXIMUM_SPARE_BLOCKS = 64;

const spareBlocks: Uint8Array[] = [];

interface Piece {
  readonly block: Uint8Array;
  /** Octets of the block that are filled. */
  length: number;
}

export class SendQueue {
  #pieces: Piece[] = [];
  /** Pieces before this one are gone. */
  #first = 0;
  /** Octets of the first piece that are gone. */
  #skip = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Octets of memory that it holds. */
  get heldBytes(): number {
    return this.#pieces.slice(this.#first).reduce((sum, { block }) => sum + block.length, 0);
  }

  /** Adds a copy of `bytes`. */
  push(bytes: Uint8Array): void {
    this.#length += bytes.length;
    for (let done = 0; done < bytes.length;) {
      const rest = bytes.length - done;
      let last = this.#pieces.at(-1);
      if (last === undefined || last.length === last.block.length) {
        const isLittle = rest < LEAST_FOR_BLOCK;
        const block = isLittle ? new Uint8Array(Math.max(rest, MINIMUM_PIECE_BYTES)) : spareBlocks.pop();
        last = { block: block ?? new Uint8Array(BLOCK_BYTES), length: 0 };
        this.#pieces.push(last);
      }
      const count = Math.min(rest, last.block.length - last.length);
      last.block.set(count === bytes.length ? bytes : bytes.subarray(done, done + count), last.length);
      last.length += count;
      done += count;
    }
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    if (count > this.#length) throw new AssertionFailure(`${count} bytes cannot be dropped from ${this.#length}`);
    this.#length -= count;
    let rest = count + this.#skip;
    for (;;) {
      const piece = this.#pieces[this.#first];
      // Of the last piece nothing is left when nothing is left at all, whatever room it has.
      if (piece === undefined || rest < piece.length) break;
      rest -= piece.length;
      release(piece);
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
    // Not asserted: the sentence would be made each time.
    if (offset + length > this.#length)
      throw new AssertionFailure(`bytes ${offset} to ${offset + length} are not in a queue of ${this.#length}`);
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
      into.set(piece.block.subarray(skip, skip + count), at + done);
      skip = 0;
      done += count;
    }
  }

  clear(): void {
    for (const piece of this.#pieces.slice(this.#first)) release(piece);
    this.#pieces = [];
    this.#first = 0;
    this.#skip = 0;
    this.#length = 0;
  }
}

/** Nobody looks into the piece any more. */
function release({ block }: Piece): void {
  if (block.length === BLOCK_BYTES && spareBlocks.length < MAXIMUM_SPARE_BLOCKS) spareBlocks.push(block);
}
