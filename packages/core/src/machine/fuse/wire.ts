/** Reads and writes the structs of abi.ts: little-endian fields one behind the other. */

import { FileError } from './errno.ts';

/** What a guest sent, field by field. Reading past the end is the guest's mistake: EINVAL. */
export class StructReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** A value of 2^53 or more gives Number.MAX_SAFE_INTEGER, which is never a valid number, offset or length. */
  u64(): number {
    const at = this.#take(8);
    const value = this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
    return Math.min(value, Number.MAX_SAFE_INTEGER);
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true);
  }

  skip(bytes: number): this {
    this.#take(bytes);
    return this;
  }

  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** What stands before the next NUL, which is passed over. */
  text(): Uint8Array {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw new FileError('EINVAL');
    const text = this.#bytes.subarray(this.#at, end);
    this.#at = end + 1;
    return text;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#bytes.length) throw new FileError('EINVAL');
    this.#at = at + bytes;
    return at;
  }
}

/** An answer being made; `capacity` bytes at the most. */
export class StructWriter {
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(capacity: number) {
    this.#buffer = new Uint8Array(capacity);
    this.#view = new DataView(this.#buffer.buffer);
  }

  /** Bytes still free. */
  get room(): number {
    return this.#buffer.length - this.#at;
  }

  get written(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }

  u16(value: number): this {
    this.#view.setUint16(this.#move(2), value, true);
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#move(4), value, true);
    return this;
  }

  u64(value: number): this {
    return this.u32(value % 2 ** 32).u32(Math.floor(value / 2 ** 32));
  }

  big64(value: bigint): this {
    this.#view.setBigUint64(this.#move(8), BigInt.asUintN(64, value), true);
    return this;
  }

  bytes(bytes: Uint8Array): this {
    this.#buffer.set(bytes, this.#move(bytes.length));
    return this;
  }

  /** Zeros, as many as said. */
  zeros(bytes: number): this {
    this.#move(bytes);
    return this;
  }

  #move(bytes: number): number {
    const at = this.#at;
    this.#at = at + bytes;
    return at;
  }
}
