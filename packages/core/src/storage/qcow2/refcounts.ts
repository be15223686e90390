/**
 * Reference counts of the file's clusters, and the allocation of clusters by them (QEMU, docs/interop/qcow2, "Host cluster management").
 *
 *     refcount table (contiguous, in memory)  ->  refcount blocks (a cluster each, cached)  ->  counts of 1 to 64 bits
 *
 * What makes it safe to be killed, or to lose power, at any moment: counts grow in the file before anything there points to the cluster,
 * and shrink after nothing does any more (write-back.ts keeps that order). So the file may count too much, and never too little.
 */

import { viewOf, write64, read64 } from './big-endian.ts';
import { FIELD, MAXIMUM_REFCOUNT_TABLE_BYTES } from './header.ts';
import type { Qcow2Image } from './image.ts';
import { joined } from './image.ts';
import { HOLE_BYTES } from '../image-file.ts';
import { Sequence } from '../interval-lock.ts';
import { getRefcount, setRefcount } from './refcount-entry.ts';
import { Table, TableCache } from './table.ts';

/** Refcount blocks in memory. */
const CACHE_BYTES = 4 * 1024 * 1024;
const MINIMUM_CACHED = 4;
const MAXIMUM_CACHED = 2048;
const TABLE_ENTRY_BYTES = 8;
/** A new refcount table is that much larger than the old one. */
const TABLE_GROWTH = 1.5;

/** Clusters of the file, side by side. */
export interface ClusterRun {
  readonly first: number;
  readonly count: number;
}

export class Refcounts {
  readonly #image: Qcow2Image;
  readonly #cache: TableCache;
  /** Offsets of the refcount blocks, 0 where there is none. */
  #blocks: Float64Array;
  #tableOffset: number;
  #tableClusters: number;
  /** Entries of the table that the file does not have yet. */
  readonly #dirtyEntries = new Set<number>();
  /** INVARIANT: every cluster below has a count of at least one. */
  #firstFree = 0;
  /** Counts change one request at a time: looking for a free cluster may have to wait for a block. */
  readonly #turns = new Sequence();

  private constructor(image: Qcow2Image, blocks: Float64Array) {
    this.#image = image;
    this.#blocks = blocks;
    this.#tableOffset = image.header.refcountTableOffset;
    this.#tableClusters = image.header.refcountTableClusters;
    const { clusterBytes } = image.geometry;
    this.#cache = new TableCache(Math.min(MAXIMUM_CACHED, Math.max(MINIMUM_CACHED, CACHE_BYTES / clusterBytes)));
  }

  /** Reads the refcount table. */
  static async open(image: Qcow2Image): Promise<Refcounts> {
    const { file, geometry, header } = image;
    const bytes = new Uint8Array(header.refcountTableClusters * geometry.clusterBytes);
    if (header.refcountTableOffset + bytes.length > file.sizeBytes)
      throw image.damaged('has a refcount table that goes beyond the end of its file');
    await file.read(header.refcountTableOffset, [bytes]);
    const view = viewOf(bytes);
    const blocks = new Float64Array(bytes.length / TABLE_ENTRY_BYTES);
    for (let index = 0; index < blocks.length; index++) {
      const offset = read64(view, index * TABLE_ENTRY_BYTES);
      if (!Number.isSafeInteger(offset) || offset % geometry.clusterBytes !== 0)
        throw image.damaged(`has a refcount block ${index} where none can be`);
      blocks[index] = offset;
    }
    return new Refcounts(image, blocks);
  }

  /** The clusters that the table and the blocks take up. */
  ownClusters(): Float64Array {
    const { geometry } = this.#image;
    const table = geometry.cluster(this.#tableOffset);
    return joined(
      Float64Array.from({ length: this.#tableClusters }, (_, index) => table + index),
      this.#blocks.filter((offset) => offset !== 0).map((offset) => geometry.cluster(offset)),
    );
  }

  /** Takes the first free clusters, up to `count` side by side and at least one. Their content is whatever was there. */
  allocate(count: number): Promise<ClusterRun> {
    return this.#turns.run(() => this.#allocate(count));
  }

  /**
   * Drops one reference to each of the clusters. Nothing in the file, or on its way there, may point to them any more. Those without another
   * one become holes of the file first: as long as they are counted nobody gets them.
   */
  async release(runs: readonly ClusterRun[]): Promise<void> {
    const last: number[] = [];
    await this.#turns.run(async () => {
      for (const { first, count } of runs)
        for (let index = 0; index < count; index++) {
          if (await this.#isLast(first + index)) last.push(first + index);
          else await this.#drop(first + index);
        }
    });
    await this.#punch(last);
    await this.#turns.run(async () => {
      for (const cluster of last) await this.#drop(cluster);
    });
  }

  /** Writes what changed: blocks, and then the table's entries that point to new ones. What is written need not be durable yet. */
  writeBack(): Promise<void> {
    return this.#turns.run(() => this.#writeBack());
  }

  async #allocate(count: number): Promise<ClusterRun> {
    const { refcountBlockEntries } = this.#image.geometry;
    for (;;) {
      const blockIndex = Math.floor(this.#firstFree / refcountBlockEntries);
      if (blockIndex >= this.#blocks.length) {
        await this.#growTable(blockIndex);
        continue;
      }
      const block = (await this.#block(blockIndex)) ?? (await this.#newBlock(blockIndex));
      const base = blockIndex * refcountBlockEntries;
      let first = this.#firstFree - base;
      while (first < refcountBlockEntries && this.#get(block, first) !== 0) first++;
      this.#firstFree = base + first;
      if (first === refcountBlockEntries) continue;
      let end = first;
      while (end < refcountBlockEntries && end - first < count && this.#get(block, end) === 0) end++;
      const run = { first: base + first, count: end - first };
      if (this.#image.metadata.hasAny(run.first, run.count))
        throw this.#image.damaged('counts clusters as free that hold its tables');
      for (let index = first; index < end; index++) this.#set(block, index, 1);
      this.#firstFree = run.first + run.count;
      return run;
    }
  }

  async #isLast(cluster: number): Promise<boolean> {
    const { refcountBlockEntries } = this.#image.geometry;
    const block = await this.#block(Math.floor(cluster / refcountBlockEntries));
    return block !== undefined && this.#get(block, cluster % refcountBlockEntries) === 1;
  }

  /** Gives the clusters' room in the file back, where it can be. */
  async #punch(clusters: readonly number[]): Promise<void> {
    const { file, geometry, metadata } = this.#image;
    if (file.punchHole === undefined) return;
    const holes: { from: number; to: number }[] = [];
    for (const cluster of clusters.toSorted((a, b) => a - b)) {
      // An image that contradicts itself; it is told when somebody is to get the cluster.
      if (metadata.has(cluster)) continue;
      const from = cluster * geometry.clusterBytes;
      const before = holes.at(-1);
      if (before?.to === from) before.to += geometry.clusterBytes;
      else holes.push({ from, to: from + geometry.clusterBytes });
    }
    const punched: Promise<boolean>[] = [];
    for (const { from, to } of holes) {
      const start = Math.ceil(from / HOLE_BYTES) * HOLE_BYTES;
      const bytes = Math.floor(to / HOLE_BYTES) * HOLE_BYTES - start;
      if (bytes > 0) punched.push(file.punchHole(start, bytes));
    }
    await Promise.all(punched);
  }

  async #drop(cluster: number): Promise<void> {
    const { refcountBlockEntries } = this.#image.geometry;
    const block = await this.#block(Math.floor(cluster / refcountBlockEntries));
    const index = cluster % refcountBlockEntries;
    const count = block === undefined ? 0 : this.#get(block, index);
    if (block === undefined || count === 0 || count === Infinity)
      throw this.#image.damaged(`counts ${count} references to cluster ${cluster}, and has dropped one`);
    this.#set(block, index, count - 1);
    if (count === 1) this.#firstFree = Math.min(this.#firstFree, cluster);
  }

  /** The block, or undefined where there is none: then all its counts are zero. */
  async #block(index: number): Promise<Table | undefined> {
    const offset = this.#blocks[index] ?? 0;
    if (offset === 0) return undefined;
    for (;;) {
      const block = await this.#cache.load(index, () => this.#read(index, offset));
      // Whoever changes counts does so at once; until then the block could have been forgotten.
      if (this.#cache.peek(index) === block) return block;
    }
  }

  async #read(index: number, offset: number): Promise<Table> {
    const { file, geometry } = this.#image;
    // Forgetting is for blocks that the file has.
    if (this.#cache.dirtyTables > this.#cache.limit / 2) await this.#writeBlocks();
    if (offset + geometry.clusterBytes > file.sizeBytes)
      throw this.#image.damaged(`has its refcount block ${index} beyond the end of its file`);
    const bytes = new Uint8Array(geometry.clusterBytes);
    await file.read(offset, [bytes]);
    return new Table(offset, bytes);
  }

  /** Where there is no block all its clusters are free: it takes the first of them. */
  async #newBlock(index: number): Promise<Table> {
    const { geometry, metadata } = this.#image;
    const cluster = index * geometry.refcountBlockEntries;
    if (metadata.has(cluster)) throw this.#image.damaged('counts clusters as free that hold its tables');
    if (this.#cache.dirtyTables > this.#cache.limit / 2) await this.#writeBlocks();
    const block = new Table(cluster * geometry.clusterBytes, new Uint8Array(geometry.clusterBytes));
    this.#blocks[index] = block.offset;
    this.#dirtyEntries.add(index);
    metadata.add(cluster);
    this.#cache.insert(index, block);
    this.#cache.touch(block);
    this.#set(block, 0, 1);
    return block;
  }

  /**
   * Moves the table to a larger place, which is where its first missing block would count: blocks for that place come first, the new table
   * behind them. The header changes over in one write, after all of that is durable.
   */
  async #growTable(missing: number): Promise<void> {
    const { file, geometry, metadata } = this.#image;
    const { clusterBytes, refcountBlockEntries } = geometry;
    let entries = Math.ceil((missing + 1) * TABLE_GROWTH);
    let blocks = 1;
    let clusters = 0;
    for (;;) {
      entries = Math.max(entries, missing + blocks);
      clusters = Math.ceil((entries * TABLE_ENTRY_BYTES) / clusterBytes);
      const needed = Math.ceil((blocks + clusters) / refcountBlockEntries);
      if (needed <= blocks) break;
      blocks = needed;
    }
    if (clusters * clusterBytes > MAXIMUM_REFCOUNT_TABLE_BYTES) throw this.#image.full();
    const first = missing * refcountBlockEntries;
    if (metadata.hasAny(first, blocks + clusters))
      throw this.#image.damaged('counts clusters as free that hold its tables');

    await this.#writeBack();
    const table = new Float64Array((clusters * clusterBytes) / TABLE_ENTRY_BYTES);
    table.set(this.#blocks);
    for (let index = 0; index < blocks; index++) {
      const block = new Table((first + index) * clusterBytes, new Uint8Array(clusterBytes));
      const used = Math.min(refcountBlockEntries, blocks + clusters - index * refcountBlockEntries);
      for (let entry = 0; entry < used; entry++) setRefcount(block.bytes, entry, 1, geometry.refcountOrder);
      await file.write(block.offset, [block.bytes]);
      this.#cache.insert(missing + index, block);
      table[missing + index] = block.offset;
    }
    const bytes = new Uint8Array(clusters * clusterBytes);
    const view = viewOf(bytes);
    for (const [index, offset] of table.entries()) if (offset !== 0) write64(view, index * TABLE_ENTRY_BYTES, offset);
    const offset = (first + blocks) * clusterBytes;
    await file.write(offset, [bytes]);
    await file.flush();
    const fields = new Uint8Array(12);
    write64(viewOf(fields), 0, offset);
    viewOf(fields).setUint32(8, clusters);
    await file.write(FIELD.refcountTableOffset, [fields]);
    await file.flush();

    const old = { first: geometry.cluster(this.#tableOffset), count: this.#tableClusters };
    metadata.remove(old.first, old.count);
    metadata.add(first, blocks + clusters);
    this.#blocks = table;
    this.#tableOffset = offset;
    this.#tableClusters = clusters;
    for (let index = 0; index < old.count; index++) await this.#drop(old.first + index);
  }

  async #writeBack(): Promise<void> {
    await this.#writeBlocks();
    if (this.#dirtyEntries.size === 0) return;
    const { file } = this.#image;
    const entries = [...this.#dirtyEntries];
    this.#dirtyEntries.clear();
    try {
      await file.flush();
      for (const index of entries) {
        const bytes = new Uint8Array(TABLE_ENTRY_BYTES);
        write64(viewOf(bytes), 0, this.#blocks[index] ?? 0);
        await file.write(this.#tableOffset + index * TABLE_ENTRY_BYTES, [bytes]);
      }
    } catch (error) {
      for (const index of entries) this.#dirtyEntries.add(index);
      throw error;
    }
  }

  async #writeBlocks(): Promise<void> {
    const taken = this.#cache.take();
    let succeeded = false;
    try {
      for (const { at, bytes } of taken) await this.#image.file.write(at, [bytes]);
      succeeded = true;
    } finally {
      this.#cache.written(taken, succeeded);
    }
  }

  #get({ bytes }: Table, index: number): number {
    return getRefcount(bytes, index, this.#image.geometry.refcountOrder);
  }

  #set(block: Table, index: number, count: number): void {
    const { refcountOrder } = this.#image.geometry;
    setRefcount(block.bytes, index, count, refcountOrder);
    const byte = Math.floor((index * 2 ** refcountOrder) / 8);
    this.#cache.touch(block, byte, byte + 8);
  }
}
