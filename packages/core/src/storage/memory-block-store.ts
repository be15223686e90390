/**
 * A disk in memory: for tests, for the browser, and for disks that live as long as their machine. Raw: byte n of the disk is byte n of
 * the array.
 */

import { assert } from '../base/assert.ts';
import type { BlockStore } from '../base/ports.ts';
import { gather, scatter, vectorBytes } from './vector.ts';

export class MemoryBlockStore implements BlockStore {
  readonly readOnly: boolean;
  readonly #bytes: Uint8Array;

  /** The store keeps `bytes` and works on it. */
  constructor(bytes: Uint8Array, readOnly = false) {
    this.#bytes = bytes;
    this.readOnly = readOnly;
  }

  get sizeBytes(): number {
    return this.#bytes.length;
  }

  async read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    scatter(this.#range(offsetBytes, into), into);
  }

  async write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    assert(!this.readOnly, 'a read-only memory disk was written to');
    gather(from, this.#range(offsetBytes, from));
  }

  /** Memory that nobody needs cannot be given back in part. */
  get discardGranularityBytes(): undefined {
    return undefined;
  }

  async writeZeroes(offsetBytes: number, bytes: number): Promise<void> {
    assert(!this.readOnly, 'a read-only memory disk was written to');
    this.#stretch(offsetBytes, offsetBytes + bytes).fill(0);
  }

  async discard(): Promise<void> {
    assert(!this.readOnly, 'a read-only memory disk was written to');
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #range(offsetBytes: number, views: readonly Uint8Array[]): Uint8Array {
    return this.#stretch(offsetBytes, offsetBytes + vectorBytes(views));
  }

  #stretch(offsetBytes: number, end: number): Uint8Array {
    assert(offsetBytes >= 0 && end <= this.#bytes.length, `bytes ${offsetBytes} to ${end} are outside a memory disk`);
    return this.#bytes.subarray(offsetBytes, end);
  }
}
