/** An image file in memory: for tests, for the browser, and for images that live as long as their machine. */

import { assert } from '../base/assert.ts';
import { BlockStoreError } from '../base/block-store-error.ts';
import { MiB } from '../base/numbers.ts';
import type { ImageFile } from './image-file.ts';
import { gather, vectorBytes } from './vector.ts';

/** No file in memory becomes larger than this. */
const MAXIMUM_BYTES = 1024 * MiB;

export class MemoryImageFile implements ImageFile {
  readonly name: string;
  readonly readOnly: boolean;
  #bytes: Uint8Array;
  #sizeBytes: number;

  constructor(name: string, content: Uint8Array = new Uint8Array(0), readOnly = false) {
    this.name = name;
    this.readOnly = readOnly;
    this.#bytes = content;
    this.#sizeBytes = content.length;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** What the file holds; not a copy. */
  get content(): Uint8Array {
    return this.#bytes.subarray(0, this.#sizeBytes);
  }

  async read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    let at = offsetBytes;
    for (const view of into) {
      const there = this.#bytes.subarray(Math.min(at, this.#sizeBytes), Math.min(at + view.length, this.#sizeBytes));
      view.set(there);
      view.fill(0, there.length);
      at += view.length;
    }
  }

  async write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    assert(!this.readOnly, 'a read-only file in memory was written to');
    const end = offsetBytes + vectorBytes(from);
    if (end > MAXIMUM_BYTES) throw new BlockStoreError('full', `Disk "${this.name}" has become too large for memory`);
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    gather(from, this.#bytes.subarray(offsetBytes, end));
    this.#sizeBytes = Math.max(this.#sizeBytes, end);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
