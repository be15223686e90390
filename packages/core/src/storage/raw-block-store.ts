/**
 * A raw disk image: byte n of the disk is byte n of the file. The disk has the file's whole sectors.
 *
 * A file that nobody called raw but that was taken for raw must not become something else by what the guest writes into it: the next
 * time it would be taken for that, with all it names (another file as its backing, for one). Such a disk is `guarded`: a write that
 * would give it the beginning of a known format fails. QEMU does the same for images whose format it had to find out.
 *
 * What is discarded becomes a hole of the file, in whole blocks.
 */

import { assert } from '../base/assert.ts';
import { BlockStoreError } from '../base/block-store-error.ts';
import type { BlockStore } from '../base/ports.ts';
import { HOLE_BYTES, type ImageFile } from './image-file.ts';
import { FORMAT_MAGIC_BYTES, detectFormat } from './image-format.ts';
import { vectorSlice } from './vector.ts';
import { ZEROES } from './zeroes.ts';

/** Disks are made of sectors of this size. */
export const SECTOR_BYTES = 512;

interface Range {
  readonly from: number;
  readonly to: number;
}

export class RawBlockStore implements BlockStore {
  readonly sizeBytes: number;
  /** What the user should know about the disk, as a sentence; undefined when there is nothing. */
  readonly note: string | undefined;
  readonly discardGranularityBytes: number | undefined;
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
    this.discardGranularityBytes = file.punchHole === undefined ? undefined : HOLE_BYTES;
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

  async writeZeroes(offsetBytes: number, bytes: number, mayDiscard: boolean): Promise<void> {
    const end = offsetBytes + bytes;
    const hole = wholeBlocks(offsetBytes, end);
    if (!mayDiscard || hole === undefined || !(await this.#punch(hole))) return this.#fillWithZeroes(offsetBytes, end);
    await this.#fillWithZeroes(offsetBytes, hole.from);
    await this.#fillWithZeroes(hole.to, end);
  }

  async discard(offsetBytes: number, bytes: number): Promise<void> {
    const hole = wholeBlocks(offsetBytes, offsetBytes + bytes);
    if (hole !== undefined) await this.#punch(hole);
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #punch({ from, to }: Range): Promise<boolean> {
    assert(!this.readOnly, 'a read-only disk was written to');
    return (await this.#file.punchHole?.(from, to - from)) ?? false;
  }

  async #fillWithZeroes(from: number, to: number): Promise<void> {
    for (let at = from; at < to; at += ZEROES.length)
      await this.#file.write(at, [ZEROES.subarray(0, Math.min(ZEROES.length, to - at))]);
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

/** What of a range can become a hole, if anything. */
function wholeBlocks(from: number, to: number): Range | undefined {
  const hole = { from: Math.ceil(from / HOLE_BYTES) * HOLE_BYTES, to: Math.floor(to / HOLE_BYTES) * HOLE_BYTES };
  return hole.from < hole.to ? hole : undefined;
}
