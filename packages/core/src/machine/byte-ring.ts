/** A queue of bytes with a fixed bound, for input that waits until the guest takes it. Allocates once. */

export class ByteRing {
  readonly capacity: number;
  readonly #bytes: Uint8Array;
  #head = 0;
  #length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** Appends as many of `bytes` as there is room for, and says how many. */
  push(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, this.capacity - this.#length);
    const tail = (this.#head + this.#length) % this.capacity;
    const first = Math.min(taken, this.capacity - tail);
    this.#bytes.set(bytes.subarray(0, first), tail);
    this.#bytes.set(bytes.subarray(first, taken), 0);
    this.#length += taken;
    return taken;
  }

  /** Takes the oldest byte; undefined when there is none. */
  shift(): number | undefined {
    if (this.#length === 0) return undefined;
    const byte = this.#bytes[this.#head];
    this.#head = (this.#head + 1) % this.capacity;
    this.#length--;
    return byte;
  }

  /** Takes the oldest bytes, as many as there are and `into` holds, and says how many. */
  take(into: Uint8Array): number {
    const taken = Math.min(into.length, this.#length);
    const first = Math.min(taken, this.capacity - this.#head);
    into.set(this.#bytes.subarray(this.#head, this.#head + first));
    into.set(this.#bytes.subarray(0, taken - first), first);
    this.#head = (this.#head + taken) % this.capacity;
    this.#length -= taken;
    return taken;
  }

  clear(): void {
    this.#head = 0;
    this.#length = 0;
  }

  /** A copy of what waits, oldest first. */
  toBytes(): Uint8Array {
    const first = Math.min(this.#length, this.capacity - this.#head);
    const copy = new Uint8Array(this.#length);
    copy.set(this.#bytes.subarray(this.#head, this.#head + first));
    copy.set(this.#bytes.subarray(0, this.#length - first), first);
    return copy;
  }
}
