/** A growing byte buffer with WebAssembly's variable-length integers (WebAssembly Core Specification, 5.2.2). */

export class Bytes {
  #data: Uint8Array;
  #length = 0;

  constructor(capacity = 1024) {
    this.#data = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** The bytes written so far; a view, valid until the next write. */
  view(): Uint8Array {
    return this.#data.subarray(0, this.#length);
  }

  byte(value: number): void {
    if (this.#length === this.#data.length) this.#grow(1);
    this.#data[this.#length++] = value;
  }

  bytes(values: Uint8Array): void {
    if (this.#length + values.length > this.#data.length) this.#grow(values.length);
    this.#data.set(values, this.#length);
    this.#length += values.length;
  }

  /** Unsigned LEB128 of an integer in 0 .. 2^32-1. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of a 32-bit integer. */
  s32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** Signed LEB128 of a 64-bit integer (taken modulo 2^64). */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    if (rest >= -0x8000_0000n && rest <= 0x7fff_ffffn) {
      this.s32(Number(rest));
      return;
    }
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  f64(value: number): void {
    const buffer = new DataView(new ArrayBuffer(8));
    buffer.setFloat64(0, value, true);
    this.bytes(new Uint8Array(buffer.buffer));
  }

  f32(value: number): void {
    const buffer = new DataView(new ArrayBuffer(4));
    buffer.setFloat32(0, value, true);
    this.bytes(new Uint8Array(buffer.buffer));
  }

  name(text: string): void {
    this.u32(text.length);
    for (let index = 0; index < text.length; index++) this.byte(text.charCodeAt(index));
  }

  #grow(extra: number): void {
    const bigger = new Uint8Array(Math.max(this.#data.length * 2, this.#length + extra));
    bigger.set(this.#data.subarray(0, this.#length));
    this.#data = bigger;
  }
}
