/**
 * Where the disk's clusters are: the active L1 table, in memory, and its L2 tables, cached (QEMU, docs/interop/qcow2, "Cluster mapping").
 *
 * An L2 table that is missing, or that a snapshot shares, is made or copied when an entry of it changes for the first time.
 */

import { defined } from '../../base/assert.ts';
import { viewOf, write64 } from './big-endian.ts';
import { decodeL2Entry, encodeL2Entry } from './l2-entry.ts';
import type { L2Entry } from './l2-entry.ts';
import type { Qcow2Image } from './image.ts';
import { joined } from './image.ts';
import { Sequence } from '../interval-lock.ts';
import type { ClusterRun, Refcounts } from './refcounts.ts';
import { Table, TableCache } from './table.ts';
import type { TakenTable } from './table.ts';

/** L2 tables in memory: with clusters of 64 KiB they map 128 GiB. */
const CACHE_BYTES = 16 * 1024 * 1024;
const MINIMUM_CACHED = 4;
const MAXIMUM_CACHED = 2048;
const L1_ENTRY_BYTES = 8;
const COPIED = 0x8000_0000;
const OFFSET_HIGH = 0x00ff_ffff;

/** Changes of both levels, taken to be written: tables first, then the L1 entries that point to them. */
export interface TakenMapping {
  readonly tables: readonly TakenTable[];
  /** L1 entries by index, with their values at the time. */
  readonly l1: ReadonlyMap<number, Uint8Array>;
}

export class Mapping {
  readonly #image: Qcow2Image;
  readonly #refcounts: Refcounts;
  readonly #cache: TableCache;
  /** Offsets of the L2 tables, 0 where there is none. */
  readonly #l1: Float64Array;
  /** 1 where the L2 table is the active L1 table's alone. */
  readonly #copied: Uint8Array;
  readonly #dirtyL1 = new Set<number>();
  readonly #turns = new Sequence();
  /** Clusters that nothing points to once what is dirty now is written. */
  #freed: ClusterRun[] = [];

  private constructor(image: Qcow2Image, refcounts: Refcounts, l1: Float64Array, copied: Uint8Array) {
    this.#image = image;
    this.#refcounts = refcounts;
    this.#l1 = l1;
    this.#copied = copied;
    const { clusterBytes } = image.geometry;
    this.#cache = new TableCache(Math.min(MAXIMUM_CACHED, Math.max(MINIMUM_CACHED, CACHE_BYTES / clusterBytes)));
  }

  /** Reads the part of the L1 table that the disk has need of. */
  static async open(image: Qcow2Image, refcounts: Refcounts): Promise<Mapping> {
    const { file, geometry, header } = image;
    const entries = Math.ceil(header.sizeBytes / geometry.l2CoverageBytes);
    const bytes = new Uint8Array(entries * L1_ENTRY_BYTES);
    if (header.l1Offset + bytes.length > file.sizeBytes)
      throw image.damaged('has an L1 table that goes beyond the end of its file');
    await file.read(header.l1Offset, [bytes]);
    const view = viewOf(bytes);
    const l1 = new Float64Array(entries);
    const copied = new Uint8Array(entries);
    for (let index = 0; index < entries; index++) {
      const high = view.getUint32(index * L1_ENTRY_BYTES);
      const low = view.getUint32(index * L1_ENTRY_BYTES + 4);
      const offset = (high & OFFSET_HIGH) * 2 ** 32 + low;
      const isReserved = (high & ~(COPIED | OFFSET_HIGH)) !== 0;
      if (isReserved || offset % geometry.clusterBytes !== 0 || !Number.isSafeInteger(offset))
        throw image.damaged(`has an L1 entry ${index} that cannot be`);
      l1[index] = offset;
      copied[index] = offset !== 0 && (high & COPIED) !== 0 ? 1 : 0;
    }
    return new Mapping(image, refcounts, l1, copied);
  }

  /** The clusters that the L1 table and its L2 tables take up. */
  ownClusters(): Float64Array {
    const { geometry, header } = this.#image;
    const count = geometry.clustersOf(header.l1Entries * L1_ENTRY_BYTES);
    const table = geometry.cluster(header.l1Offset);
    return joined(
      Float64Array.from({ length: count }, (_, index) => table + index),
      this.#l1.filter((offset) => offset !== 0).map((offset) => geometry.cluster(offset)),
    );
  }

  /** So much has changed that it should be written before more does. */
  get isFull(): boolean {
    return this.#cache.dirtyTables > this.#cache.limit / 2 || this.#freed.length > MAXIMUM_CACHED;
  }

  /** The L2 table of an L1 entry: undefined where there is none, `unread` where it is not in memory. */
  peek(l1Index: number): Table | undefined | 'unread' {
    return this.#l1[l1Index] === 0 ? undefined : (this.#cache.peek(l1Index) ?? 'unread');
  }

  /** The L2 table of an L1 entry, or undefined where there is none. For looking at once: what the caller does later may find it changed. */
  async load(l1Index: number): Promise<Table | undefined> {
    const { file, geometry } = this.#image;
    const offset = this.#l1[l1Index] ?? 0;
    if (offset === 0) return undefined;
    return this.#cache.load(l1Index, async () => {
      if (offset + geometry.clusterBytes > file.sizeBytes)
        throw this.#image.damaged(`has its L2 table ${l1Index} beyond the end of its file`);
      const bytes = new Uint8Array(geometry.clusterBytes);
      await file.read(offset, [bytes]);
      return new Table(offset, bytes);
    });
  }

  /** The entry of a cluster of the disk, in the table of its L1 entry. */
  entry(table: Table, cluster: number): L2Entry {
    const { geometry, header } = this.#image;
    const at = (cluster % geometry.l2Entries) * geometry.entryBytes;
    const entry = decodeL2Entry(table.view, at, geometry, header.version);
    if (typeof entry === 'string') throw this.#image.damaged(`has an L2 entry for cluster ${cluster} that ${entry}`);
    return entry;
  }

  /**
   * Changes entries of one L2 table at once: `change` gets the table and a way to set an entry, and must not wait. Afterwards `freed` are
   * clusters that the changed entries do not point to any more; they are released when the file knows.
   */
  async change(
    l1Index: number,
    change: (table: Table, set: (cluster: number, entry: L2Entry) => void) => readonly ClusterRun[],
  ): Promise<void> {
    const { geometry } = this.#image;
    for (;;) {
      const table = await this.#changeable(l1Index);
      // Between its coming and our turn it may have been forgotten, or may have become shared.
      if (this.#cache.peek(l1Index) !== table || this.#copied[l1Index] === 0) continue;
      const freed = change(table, (cluster, entry) => {
        const at = (cluster % geometry.l2Entries) * geometry.entryBytes;
        encodeL2Entry(table.view, at, entry, geometry);
        this.#cache.touch(table, at, at + geometry.entryBytes);
      });
      for (const run of freed) this.#freed.push(run);
      return;
    }
  }

  /** Everything that changed, to be written by the caller, who says by `written` how that went. */
  take(): TakenMapping & { readonly freed: readonly ClusterRun[] } {
    const l1 = new Map<number, Uint8Array>();
    for (const index of this.#dirtyL1) {
      const bytes = new Uint8Array(L1_ENTRY_BYTES);
      write64(viewOf(bytes), 0, this.#l1[index] ?? 0);
      viewOf(bytes).setUint32(0, (viewOf(bytes).getUint32(0) | COPIED) >>> 0);
      l1.set(index, bytes);
    }
    this.#dirtyL1.clear();
    const freed = this.#freed;
    this.#freed = [];
    return { tables: this.#cache.take(), l1, freed };
  }

  /** What failed is to be written again; so are `freed` kept until then. */
  written(taken: TakenMapping & { readonly freed: readonly ClusterRun[] }, succeeded: boolean): void {
    this.#cache.written(taken.tables, succeeded);
    if (succeeded) return;
    for (const index of taken.l1.keys()) this.#dirtyL1.add(index);
    this.#freed = [...taken.freed, ...this.#freed];
  }

  /** Where an L1 entry is in the file. */
  l1EntryOffset(l1Index: number): number {
    return this.#image.header.l1Offset + l1Index * L1_ENTRY_BYTES;
  }

  /** The L2 table, made or copied so that it is ours alone. */
  async #changeable(l1Index: number): Promise<Table> {
    if (this.#copied[l1Index] !== 0) {
      const table = await this.load(l1Index);
      if (table !== undefined) return table;
    }
    return this.#turns.run(async () => {
      if (this.#copied[l1Index] !== 0) return defined(await this.load(l1Index), 'an L2 table');
      const { geometry, metadata } = this.#image;
      const { first } = await this.#refcounts.allocate(1);
      const offset = first * geometry.clusterBytes;
      let shared = await this.load(l1Index);
      // Nobody may be on the way to read it once more when it moves.
      while (shared !== this.#cache.peek(l1Index)) shared = await this.load(l1Index);
      metadata.add(first);
      // No wait from here on: readers see the old table or the new one.
      const own = shared ?? new Table(offset, new Uint8Array(geometry.clusterBytes));
      if (shared !== undefined) {
        const old = geometry.cluster(own.offset);
        metadata.remove(old);
        this.#freed.push({ first: old, count: 1 });
        own.offset = offset;
      }
      this.#l1[l1Index] = offset;
      this.#copied[l1Index] = 1;
      this.#dirtyL1.add(l1Index);
      this.#cache.insert(l1Index, own);
      this.#cache.touch(own);
      return own;
    });
  }
}
