/**
 * A disk in a qcow2 image, version 2 or 3 (QEMU, docs/interop/qcow2).
 *
 *     read    ->  mapping  ->  file | backing disk | zeroes | decompressed cluster
 *     write   ->  mapping: in place, else new clusters, filled up with what the disk showed there before (cluster-writer.ts)
 *     flush   ->  write-back.ts
 *
 * Requests overlap in time. Whoever changes an L2 entry holds a lock on its cluster of the disk; reads and writes in place hold none.
 */

import { assert } from '../../base/assert.ts';
import type { BlockStoreError } from '../../base/block-store-error.ts';
import type { BlockStore, HeldRun } from '../../base/ports.ts';
import type { ImageFile } from '../image-file.ts';
import { vectorBytes } from '../vector.ts';
import { ClusterReader } from './cluster-reader.ts';
import type { Decompress } from './cluster-reader.ts';
import { ClusterWriter } from './cluster-writer.ts';
import { ClusterZeroer } from './cluster-zeroer.ts';
import { FIELD, INCOMPATIBLE, MAXIMUM_CLUSTER_BITS, readHeader } from './header.ts';
import type { Qcow2Header } from './header.ts';
import { Qcow2Image, joined } from './image.ts';
import { IntervalLock } from '../interval-lock.ts';
import { Mapping } from './mapping.ts';
import { Refcounts } from './refcounts.ts';
import { repairRefcounts } from './repair.ts';
import { WriteBack } from './write-back.ts';

export interface Qcow2Parts {
  readonly file: ImageFile;
  readonly header: Qcow2Header;
  /** The disk behind this one, read-only. It is closed with this one. */
  readonly backing?: BlockStore | undefined;
  /** Without it compressed clusters cannot be read. */
  readonly decompress?: Decompress | undefined;
}

/** Reads and checks the header of the image in `file`. */
export async function readQcow2Header(file: ImageFile): Promise<Qcow2Header> {
  const bytes = new Uint8Array(Math.min(file.sizeBytes, 2 ** MAXIMUM_CLUSTER_BITS));
  await file.read(0, [bytes]);
  return readHeader(bytes, file.name);
}

export class Qcow2BlockStore implements BlockStore {
  readonly sizeBytes: number;
  readonly discardGranularityBytes: number;
  readonly #image: Qcow2Image;
  readonly #backing: BlockStore | undefined;
  readonly #writeBack: WriteBack;
  readonly #reader: ClusterReader;
  readonly #writer: ClusterWriter;
  readonly #zeroer: ClusterZeroer;
  readonly #mapping: Mapping;
  readonly #underWay = new Set<Promise<void>>();
  /** The first change was prepared for. */
  #begun: Promise<void> | undefined;
  /** Why nothing may be written any more. */
  #damage: BlockStoreError | undefined;

  private constructor({ backing, decompress }: Qcow2Parts, image: Qcow2Image, refcounts: Refcounts, mapping: Mapping) {
    this.sizeBytes = image.header.sizeBytes;
    this.discardGranularityBytes = image.geometry.clusterBytes;
    this.#image = image;
    this.#backing = backing;
    this.#mapping = mapping;
    this.#writeBack = new WriteBack(image, mapping, refcounts);
    this.#reader = new ClusterReader({ image, mapping, backing, decompress, writeBack: this.#writeBack });
    const parts = {
      image,
      mapping,
      refcounts,
      locks: new IntervalLock(),
      writeBack: this.#writeBack,
      reader: this.#reader,
    };
    this.#writer = new ClusterWriter(parts);
    this.#zeroer = new ClusterZeroer({ ...parts, writer: this.#writer, hasBacking: backing !== undefined });
  }

  /** Opens the image, whose header was read; rejects with a BlockStoreError. */
  static async open(parts: Qcow2Parts): Promise<Qcow2BlockStore> {
    let image = new Qcow2Image(parts.file, parts.header);
    const { readOnly } = parts.file;
    if (!readOnly && parts.header.isCorrupt)
      throw image.damaged('is marked as corrupt; "qemu-img check -r all" may repair it');
    if (!readOnly && parts.header.isDirty) {
      await repairRefcounts(image);
      image = new Qcow2Image(parts.file, await readQcow2Header(parts.file));
    }
    const refcounts = await Refcounts.open(image);
    const mapping = await Mapping.open(image, refcounts);
    const isSound = image.metadata.begin(joined(Float64Array.of(0), refcounts.ownClusters(), mapping.ownClusters()));
    if (!isSound && !readOnly) throw image.damaged('keeps two of its tables in one place');
    return new Qcow2BlockStore(parts, image, refcounts, mapping);
  }

  get readOnly(): boolean {
    return this.#image.file.readOnly;
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    this.#assertRange(offsetBytes, vectorBytes(into));
    return this.#pending(this.#reader.read(offsetBytes, into));
  }

  async heldRun(offsetBytes: number, layers: number): Promise<HeldRun> {
    const own = await this.#reader.ownRun(offsetBytes);
    const backing = this.#backing;
    if (own.held || layers <= 1 || backing === undefined) return own;
    // A disk behind that is shorter shows zeroes where the next one behind need not.
    if (offsetBytes >= backing.sizeBytes) return { held: true, endBytes: own.endBytes };
    const behind = (await backing.heldRun?.(offsetBytes, layers - 1)) ?? { held: true, endBytes: backing.sizeBytes };
    return { held: behind.held, endBytes: Math.min(own.endBytes, behind.endBytes) };
  }

  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    return this.#change(offsetBytes, vectorBytes(from), () => this.#writer.write(offsetBytes, from));
  }

  writeZeroes(offsetBytes: number, bytes: number, mayDiscard: boolean): Promise<void> {
    return this.#change(offsetBytes, bytes, () => this.#zeroer.writeZeroes(offsetBytes, bytes, mayDiscard));
  }

  discard(offsetBytes: number, bytes: number): Promise<void> {
    return this.#change(offsetBytes, bytes, () => this.#zeroer.discard(offsetBytes, bytes));
  }

  async flush(): Promise<void> {
    if (this.readOnly || this.#begun === undefined) return;
    if (this.#damage !== undefined) throw this.#damage;
    await this.#marking(() => this.#writeBack.flush());
  }

  async close(): Promise<void> {
    // A machine that was ended leaves requests behind.
    await Promise.allSettled(this.#underWay);
    try {
      if (this.#damage === undefined) {
        await this.flush();
        // What was freed by that is written, but not for sure; and a change may have come in between.
        await this.flush();
      }
    } finally {
      await Promise.all([this.#image.file.close(), this.#backing?.close()]);
    }
  }

  #assertRange(offsetBytes: number, bytes: number): void {
    const end = offsetBytes + bytes;
    assert(
      offsetBytes >= 0 && bytes >= 0 && end <= this.sizeBytes,
      `bytes ${offsetBytes} to ${end} are outside a qcow2 disk`,
    );
  }

  #pending(request: Promise<void>): Promise<void> {
    this.#underWay.add(request);
    const over = (): boolean => this.#underWay.delete(request);
    request.then(over, over);
    return request;
  }

  async #change(offsetBytes: number, bytes: number, change: () => Promise<void>): Promise<void> {
    this.#assertRange(offsetBytes, bytes);
    assert(!this.readOnly, 'a read-only qcow2 disk was written to');
    if (bytes === 0) return;
    if (this.#damage !== undefined) throw this.#damage;
    await this.#pending(
      this.#marking(async () => {
        await (this.#begun ??= this.#begin());
        await change();
        if (this.#mapping.isFull) await this.#writeBack.flush();
      }),
    );
  }

  /** An implementation that changes an image clears the autoclear bits whose promise it does not keep. */
  async #begin(): Promise<void> {
    const { file, header } = this.#image;
    if (!header.hasAutoclear) return;
    try {
      await file.write(FIELD.autoclear, [new Uint8Array(8)]);
      await file.flush();
    } catch (error) {
      this.#begun = undefined;
      throw error;
    }
  }

  /** Where the image turns out to contradict itself, nothing is written to it any more, and it says so itself from then on. */
  async #marking(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (this.#image.isDamage(error) && this.#damage === undefined) {
        this.#damage = error;
        await this.#markCorrupt().catch(() => {});
      }
      throw error;
    }
  }

  async #markCorrupt(): Promise<void> {
    const { file, header } = this.#image;
    if (header.version === 2) return;
    const last = FIELD.incompatible + 7;
    const bits = new Uint8Array(1);
    await file.read(last, [bits]);
    bits[0] = (bits[0] ?? 0) | (1 << INCOMPATIBLE.CORRUPT);
    await file.write(last, [bits]);
    await file.flush();
  }
}
