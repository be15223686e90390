/**
 * The driver's end of a split virtqueue, for tests: lays rings and buffers into guest memory as a driver would, and offers every word of
 * them for tests that lay them wrong.
 */

import type { ScatteredMemory } from './scattered-memory.ts';

export const DESC = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** Hands out guest memory, never twice. */
export class GuestAllocator {
  readonly memory: ScatteredMemory;
  #next: number;

  constructor(memory: ScatteredMemory) {
    this.memory = memory;
    this.#next = memory.base;
  }

  /** Bytes handed out. */
  get used(): number {
    return this.#next - this.memory.base;
  }

  /** Whatever was handed out is given up. */
  startOver(): void {
    this.#next = this.memory.base;
  }

  allocate(size: number, alignment = 16): number {
    const at = Math.ceil(this.#next / alignment) * alignment;
    this.#next = at + size;
    if (!this.memory.contains(at, size)) throw new Error('the test needs more guest memory');
    return at;
  }
}

export interface Descriptor {
  readonly address: number;
  readonly size: number;
  readonly flags?: number;
  readonly next?: number;
}

/** A request as the test made it. */
export interface Submitted {
  readonly head: number;
  /** Where the device-writable buffers are. */
  readonly answers: readonly { readonly address: number; readonly size: number }[];
}

export interface UsedElement {
  readonly head: number;
  readonly written: number;
}

export class GuestQueue {
  readonly size: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  readonly #allocator: GuestAllocator;
  readonly #memory: ScatteredMemory;
  #nextDescriptor = 0;
  #availableIndex = 0;
  #usedIndex = 0;

  constructor(allocator: GuestAllocator, size: number) {
    this.size = size;
    this.#allocator = allocator;
    this.#memory = allocator.memory;
    this.descriptors = allocator.allocate(16 * size);
    this.available = allocator.allocate(6 + 2 * size, 2);
    this.used = allocator.allocate(6 + 8 * size, 4);
    // As a driver does: what a device wrote there before, by an earlier descriptor, is no ring.
    this.#memory.write(this.descriptors, new Uint8Array(this.used + 6 + 8 * size - this.descriptors));
  }

  setDescriptor(index: number, descriptor: Descriptor, table = this.descriptors): void {
    const at = table + 16 * index;
    this.#memory.store64(at, descriptor.address);
    this.#memory.store32(at + 8, descriptor.size);
    this.#memory.store16(at + 12, descriptor.flags ?? 0);
    this.#memory.store16(at + 14, descriptor.next ?? 0);
  }

  /** Puts `head` into the available ring. */
  offer(head: number): void {
    this.#memory.store16(this.available + 4 + 2 * (this.#availableIndex % this.size), head);
    this.#availableIndex = (this.#availableIndex + 1) & 0xffff;
    this.#memory.store16(this.available + 2, this.#availableIndex);
  }

  get availableIndex(): number {
    return this.#availableIndex;
  }

  /** Claims more (or fewer) entries than were offered. */
  setAvailableIndex(index: number): void {
    this.#availableIndex = index & 0xffff;
    this.#memory.store16(this.available + 2, this.#availableIndex);
  }

  setAvailableFlags(flags: number): void {
    this.#memory.store16(this.available, flags);
  }

  /** Where this side stands in both rings, for a test that begins late in a queue's life. */
  setPosition(index: number): void {
    this.setAvailableIndex(index);
    this.#usedIndex = index & 0xffff;
  }

  setUsedEvent(index: number): void {
    this.#memory.store16(this.available + 4 + 2 * this.size, index & 0xffff);
  }

  availEvent(): number {
    return this.#memory.load16(this.used + 4 + 8 * this.size) ?? 0;
  }

  /** Lays out a request: bytes to send, room to answer, one descriptor each or one indirect table. */
  submit(send: readonly Uint8Array[], room: readonly number[], indirect = false): Submitted {
    const buffers = [
      ...send.map((bytes) => {
        const address = this.#allocator.allocate(bytes.length, 1);
        this.#memory.write(address, bytes);
        return { address, size: bytes.length, flags: 0 };
      }),
      ...room.map((size) => ({ address: this.#allocator.allocate(size, 1), size, flags: DESC.WRITE as number })),
    ];
    const head = this.#claim(indirect ? 1 : buffers.length);
    const table = indirect ? this.#allocator.allocate(16 * buffers.length) : this.descriptors;
    for (const [position, buffer] of buffers.entries()) {
      const last = position === buffers.length - 1;
      const index = indirect ? position : (head + position) % this.size;
      const next = indirect ? position + 1 : (index + 1) % this.size;
      this.setDescriptor(
        index,
        { ...buffer, flags: buffer.flags | (last ? 0 : DESC.NEXT), next: last ? 0 : next },
        table,
      );
    }
    if (indirect) this.setDescriptor(head, { address: table, size: 16 * buffers.length, flags: DESC.INDIRECT });
    this.offer(head);
    return { head, answers: buffers.filter(({ flags }) => flags !== 0) };
  }

  /** What the device has used since the last call. */
  takeUsed(): UsedElement[] {
    const taken: UsedElement[] = [];
    const index = this.#memory.load16(this.used + 2) ?? 0;
    while (this.#usedIndex !== index) {
      const at = this.used + 4 + 8 * (this.#usedIndex % this.size);
      taken.push({ head: this.#memory.load32(at) ?? -1, written: this.#memory.load32(at + 4) ?? -1 });
      this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    }
    return taken;
  }

  /** The first `length` bytes of a request's answer (all of it when omitted). */
  answer(submitted: Submitted, length = Number.MAX_SAFE_INTEGER): Uint8Array {
    const bytes = submitted.answers.flatMap(({ address, size }) => {
      const part = new Uint8Array(size);
      this.#memory.read(address, part);
      return [...part];
    });
    return Uint8Array.from(bytes.slice(0, length));
  }

  /** Consecutive descriptors, by turns. */
  #claim(count: number): number {
    const head = this.#nextDescriptor;
    this.#nextDescriptor = (head + count) % this.size;
    return head;
  }
}
