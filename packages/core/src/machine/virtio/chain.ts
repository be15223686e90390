/**
 * A chain: one buffer that the driver made available, after its descriptors were checked (descriptors.ts). From here on it cannot be
 * wrong any more: every segment lies in RAM and the parts have the lengths they say. What the bytes mean is still an allegation.
 *
 *     descriptors --readChain--> Chain { readable: bytes the driver sends, writable: room for the answer }
 */

import { assert, AssertionFailure } from '../../base/assert.ts';
import type { GuestMemory, MemoryRange } from '../device.ts';

/** Guest bytes on loan for one transfer (GuestMemory.views). Release it exactly once, however the transfer ends. */
export class Loan {
  readonly views: readonly Uint8Array[];
  readonly #release: () => void;

  constructor(views: readonly Uint8Array[], release: () => void) {
    this.views = views;
    this.#release = release;
  }

  release(): void {
    this.#release();
  }
}

/** One half of a chain. Offsets count the bytes of the half as if it were contiguous: framing has no meaning (virtio 1.3, 2.7.4). */
class ChainPart {
  /** Length in bytes. */
  readonly bytes: number;
  protected readonly memory: GuestMemory;
  readonly #segments: readonly MemoryRange[];

  constructor(memory: GuestMemory, segments: readonly MemoryRange[]) {
    this.memory = memory;
    this.#segments = segments;
    let bytes = 0;
    for (const segment of segments) bytes += segment.size;
    this.bytes = bytes;
  }

  /** Where its bytes are in guest memory, in order. */
  get segments(): readonly MemoryRange[] {
    return this.#segments;
  }

  /** Where the range begins when it lies in one segment, as nearly always; -1 otherwise. */
  protected oneStretch(offset: number, size: number): number {
    const [first] = this.#segments;
    return first !== undefined && offset >= 0 && offset + size <= first.size ? first.address + offset : -1;
  }

  /** Visits the stretches of guest memory under [offset, offset + size), in order; `done` bytes of the range came before. */
  protected eachStretch(
    offset: number,
    size: number,
    visit: (address: number, size: number, done: number) => void,
  ): void {
    // Not asserted: the sentence would be made each time.
    if (offset < 0 || size < 0 || offset + size > this.bytes)
      throw new AssertionFailure(`bytes ${offset} to ${offset + size} are not in a chain of ${this.bytes}`);
    let skip = offset;
    let done = 0;
    for (const segment of this.#segments) {
      if (done === size) return;
      if (skip >= segment.size) {
        skip -= segment.size;
        continue;
      }
      const length = Math.min(segment.size - skip, size - done);
      visit(segment.address + skip, length, done);
      skip = 0;
      done += length;
    }
  }

  protected lendStretches(offset: number, size: number, forWrite: boolean): Loan {
    const { memory } = this;
    const views: Uint8Array[] = [];
    const lent: MemoryRange[] = [];
    const release = (): void => {
      for (const segment of lent) memory.release(segment.address, segment.size, forWrite);
    };
    try {
      this.eachStretch(offset, size, (address, length) => {
        const stretch = memory.views(address, length, forWrite);
        assert(stretch !== undefined, 'RAM went away under a chain');
        lent.push({ address, size: length });
        views.push(...stretch);
      });
    } catch (error) {
      release();
      throw error;
    }
    return new Loan(views, release);
  }
}

/** The device-readable half: what the driver sends. */
export class ReadablePart extends ChainPart {
  /** Fills `into` from `offset` on. */
  copyTo(into: Uint8Array, offset = 0): void {
    const at = this.oneStretch(offset, into.length);
    if (at >= 0) {
      assert(this.memory.read(at, into), 'RAM went away under a chain');
      return;
    }
    this.eachStretch(offset, into.length, (address, size, done) => {
      assert(this.memory.read(address, into.subarray(done, done + size)), 'RAM went away under a chain');
    });
  }

  lend(offset: number, size: number): Loan {
    return this.lendStretches(offset, size, false);
  }
}

/** The device-writable half: room for the answer. */
export class WritablePart extends ChainPart {
  /** Writes all of `from` at `offset`. */
  copyFrom(from: Uint8Array, offset = 0): void {
    const at = this.oneStretch(offset, from.length);
    if (at >= 0) {
      assert(this.memory.write(at, from), 'RAM went away under a chain');
      return;
    }
    this.eachStretch(offset, from.length, (address, size, done) => {
      assert(this.memory.write(address, from.subarray(done, done + size)), 'RAM went away under a chain');
    });
  }

  lend(offset: number, size: number): Loan {
    return this.lendStretches(offset, size, true);
  }
}

export class Chain {
  /** Index of the first descriptor: the chain's name in the used ring. */
  readonly head: number;
  readonly readable: ReadablePart;
  readonly writable: WritablePart;

  constructor(memory: GuestMemory, head: number, readable: readonly MemoryRange[], writable: readonly MemoryRange[]) {
    this.head = head;
    this.readable = new ReadablePart(memory, readable);
    this.writable = new WritablePart(memory, writable);
  }
}
