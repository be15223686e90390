/** Bytes of the protocol as they are put together: little-endian integers, and texts that end with a NUL. */

import { assert } from '../../base/assert.ts';

export class WireWriter {
  #bytes = new Uint8Array(256);
  #fields = new DataView(this.#bytes.buffer);
  #length = 0;

  u8(value: number): this {
    const at = this.#take(1);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#take(2);
    this.#fields.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.#take(4);
    this.#fields.setUint32(at, value, true);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#take(8);
    this.#fields.setBigUint64(at, BigInt.asUintN(64, value), true);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#take(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** `value` and the NUL that ends it. It has none inside; who calls has checked that. */
  text(value: Uint8Array): this {
    assert(!value.includes(0), 'a text for the agent holds a NUL');
    return this.bytes(value).u8(0);
  }

  get length(): number {
    return this.#length;
  }

  /** What was written; the writer is done. */
  take(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Where the next `size` bytes go; there is room for them now. */
  #take(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#fields = new DataView(larger.buffer);
    }
    return at;
  }
}
