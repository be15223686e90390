/** Gathers what a serial line brings, a byte at a time, and hands it on once per turn of the event loop. */

import type { ByteSink } from '@ringfence/core';

const CHUNK_BYTES = 4096;

export class SerialOutput implements ByteSink {
  readonly #to: (bytes: Uint8Array) => void;
  #chunk = new Uint8Array(CHUNK_BYTES);
  #length = 0;

  /** `to` may keep the bytes it is given. */
  constructor(to: (bytes: Uint8Array) => void) {
    this.#to = to;
  }

  write(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#length === 0) setImmediate(() => this.flush());
      this.#chunk[this.#length++] = byte;
      if (this.#length === CHUNK_BYTES) this.flush();
    }
  }

  /** Hands on what is there. */
  flush(): void {
    if (this.#length === 0) return;
    const bytes = this.#chunk.subarray(0, this.#length);
    this.#chunk = new Uint8Array(CHUNK_BYTES);
    this.#length = 0;
    this.#to(bytes);
  }
}
