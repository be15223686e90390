/**
 * A raw disk image: byte n of the disk is byte n of the file. The disk has the file's whole sectors.
 *
 * A file that nobody called raw but that was taken for raw must not become something else by what the guest writes into it: the next
 * time it would be taken for that, with all it names (another file as its backing, for one). Such a disk is `guarded`: a write that
 * would give it the beginning of a known format fails. QEMU does the same for images whose format it had to find out.
 */

import { assert } from '../base/assert.ts';
import { BlockStoreError } from '../base/block-store-error.ts';
import type { BlockStore } from '../base/ports.ts';
import type { ImageFile } from './image-file.ts';
import { FORMAT_MAGIC_BYTES, detectFormat } from './image-format.ts';
import { vectorSlice } from './vector.ts';
import { ZEROES } from './zeroes.ts';

/** Disks are made of sectors of this size. */
export const SECTOR_BYTES = 512;

export class RawBlockStore implements BlockStore {
  readonly sizeBytes: number;
  /** What the user should know about the disk, as a sentence; undefined when there is nothing. */
  readonly note: string | undefined;
  /** The port has no way to make a hole in a file. */
  readonly discardGranularityBytes = undefined;
  readonly #file: ImageFile;
  readonly #guarded: boolean;

  /** Throws a BlockStoreError when the file is too small to be a disk. */
  constructor(file: ImageFile, { guarded = false }: { readonly guarded?: boolean } = {}) {
    const { name, sizeBytes } = file;
    if (sizeBytes < SECTOR_BYTES)
      throw new BlockStoreError(
        'unavailable',
        `Disk "${name}" has no room for a single sector of ${SECTOR_BYTES} bytes`,
      );
    const rest = sizeBytes % SECTOR_BYTES;
    this.sizeBytes = sizeBytes - rest;
    this.#file = file;
    this.#guarded = guarded;
    if (rest > 0) {
      const length = `${sizeBytes} bytes long, which is no whole number of sectors of ${SECTOR_BYTES}`;
      this.note = `Disk "${name}" is ${length}; the guest does not see the last ${rest} bytes`;
    }
  }

  get readOnly(): boolean {
    return this.#file.readOnly;
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#file.read(offsetBytes, into);
  }

  async write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    assert(!this.readOnly, 'a read-only disk was written to');
    if (this.#guarded && offsetBytes < FORMAT_MAGIC_BYTES) await this.#refuseMagic(offsetBytes, from);
    await this.#file.write(offsetBytes, from);
  }

  async writeZeroes(offsetBytes: number, bytes: number): Promise<void> {
    for (let done = 0; done < bytes; done += ZEROES.length)
      await this.#file.write(offsetBytes + done, [ZEROES.subarray(0, Math.min(ZEROES.length, bytes - done))]);
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #refuseMagic(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    const start = new Uint8Array(FORMAT_MAGIC_BYTES);
    await this.#file.read(0, [start]);
    let at = offsetBytes;
    for (const view of vectorSlice(from, 0, FORMAT_MAGIC_BYTES - offsetBytes)) {
      start.set(view, at);
      at += view.length;
    }
    const format = detectFormat(start);
    if (format === 'raw') return;
    throw new BlockStoreError(
      'io',
      `Disk "${this.#file.name}" was taken for raw, and the guest writes the beginning of a ${format} image to it; open it with format=raw to allow that`,
    );
  }
}
