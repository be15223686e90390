/**
 * Counts the references to every cluster of an image anew, for one whose writer kept no counts (lazy refcounts) and was killed: the dirty
 * bit says so (QEMU, docs/interop/qcow2, "Header"). What points where is right in such an image.
 *
 *     L1 tables, active and of snapshots  ->  L2 tables  ->  data        every arrow is a reference
 *
 * The new counts go behind everything else; one write of the header then changes over to them, so a repair that is cut short changed
 * nothing.
 */

import { BlockStoreError } from '../../base/block-store-error.ts';
import { MiB } from '../../base/numbers.ts';
import { read64, viewOf, write64 } from './big-endian.ts';
import { FIELD, INCOMPATIBLE, MAXIMUM_L1_BYTES, MAXIMUM_REFCOUNT_TABLE_BYTES } from './header.ts';
import type { Qcow2Image } from './image.ts';
import { decodeL2Entry } from './l2-entry.ts';
import { setRefcount } from './refcount-entry.ts';

/** Clusters that are counted, four bytes each. */
const MAXIMUM_CLUSTERS = 2 ** 25;
/** L2 tables that are read: snapshots may share them, and each time counts. */
const MAXIMUM_TABLES = 2 ** 20;
const MAXIMUM_SNAPSHOT_TABLE_BYTES = 64 * MiB;
const SNAPSHOT_ENTRY_BYTES = 40;
const ENTRY_BYTES = 8;
const OFFSET_HIGH = 0x00ff_ffff;
const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;

/** Writes counts that are right, and takes the dirty bit away; rejects with a BlockStoreError. Nobody else may use the image meanwhile. */
export async function repairRefcounts(image: Qcow2Image): Promise<void> {
  const { file } = image;
  const references = new References(image);
  await references.count();
  // Bitmaps are not counted: their mark of being valid goes first.
  await file.write(FIELD.autoclear, [new Uint8Array(8)]);
  await references.markCopied();
  await file.flush();
  await new NewCounts(image, references.counts, references.end).write();
  const last = FIELD.incompatible + 7;
  const bits = new Uint8Array(1);
  await file.read(last, [bits]);
  bits[0] = (bits[0] ?? 0) & ~(1 << INCOMPATIBLE.DIRTY);
  await file.write(last, [bits]);
  await file.flush();
}

class References {
  readonly #image: Qcow2Image;
  /** References to each cluster of the file. */
  counts: Uint32Array;
  /** Behind the last cluster that is used, or is there. */
  end: number;
  #tables = 0;

  constructor(image: Qcow2Image) {
    this.#image = image;
    this.end = image.geometry.clustersOf(image.file.sizeBytes);
    if (this.end > MAXIMUM_CLUSTERS) throw this.#tooMuch();
    this.counts = new Uint32Array(this.end);
  }

  async count(): Promise<void> {
    const { header } = this.#image;
    this.#add(0, 1);
    await this.#countL1(header.l1Offset, header.l1Entries);
    await this.#countSnapshots();
  }

  /** In the active tables the mark "copied" says that there is one reference; a table whose marks are wrong is written again. */
  async markCopied(): Promise<void> {
    const { file, geometry, header } = this.#image;
    const l1 = await this.#read(header.l1Offset, header.l1Entries * ENTRY_BYTES, 'an L1 table');
    if (this.#mark(l1, ENTRY_BYTES)) await file.write(header.l1Offset, [l1]);
    for (const offset of offsetsOf(l1)) {
      const l2 = await this.#read(offset, geometry.clusterBytes, 'an L2 table');
      if (this.#mark(l2, geometry.entryBytes)) await file.write(offset, [l2]);
    }
  }

  #mark(table: Uint8Array, entryBytes: number): boolean {
    const view = viewOf(table);
    let changed = false;
    for (let at = 0; at < table.length; at += entryBytes) {
      const high = view.getUint32(at);
      const offset = (high & OFFSET_HIGH) * 2 ** 32 + ((view.getUint32(at + 4) & ~511) >>> 0);
      const isOne = (high & COMPRESSED) === 0 && offset > 0 && this.counts[this.#image.geometry.cluster(offset)] === 1;
      const marked = ((high & ~COPIED) | (isOne ? COPIED : 0)) >>> 0;
      if (marked === high) continue;
      view.setUint32(at, marked);
      changed = true;
    }
    return changed;
  }

  async #countSnapshots(): Promise<void> {
    const { file } = this.#image;
    const fields = new Uint8Array(12);
    await file.read(FIELD.snapshots, [fields]);
    const snapshots = viewOf(fields).getUint32(0);
    if (snapshots === 0) return;
    const start = read64(viewOf(fields), 4);
    let at = start;
    for (let index = 0; index < snapshots; index++) {
      const entry = viewOf(await this.#read(at, SNAPSHOT_ENTRY_BYTES, 'a snapshot table'));
      await this.#countL1(read64(entry, 0), entry.getUint32(8));
      const length = SNAPSHOT_ENTRY_BYTES + entry.getUint16(12) + entry.getUint16(14) + entry.getUint32(36);
      at += Math.ceil(length / 8) * 8;
      if (at - start > MAXIMUM_SNAPSHOT_TABLE_BYTES) throw this.#tooMuch();
    }
    this.#add(start, at - start);
  }

  async #countL1(offset: number, entries: number): Promise<void> {
    const { geometry, header } = this.#image;
    if (entries * ENTRY_BYTES > MAXIMUM_L1_BYTES) throw this.#tooMuch();
    const l1 = await this.#read(offset, entries * ENTRY_BYTES, 'an L1 table');
    this.#add(offset, l1.length);
    for (const l2Offset of offsetsOf(l1)) {
      if (++this.#tables > MAXIMUM_TABLES) throw this.#tooMuch();
      this.#add(l2Offset, 1);
      const view = viewOf(await this.#read(l2Offset, geometry.clusterBytes, 'an L2 table'));
      for (let at = 0; at < geometry.clusterBytes; at += geometry.entryBytes) {
        const entry = decodeL2Entry(view, at, geometry, header.version);
        if (typeof entry === 'string') throw this.#image.damaged(`has an L2 entry that ${entry}`);
        if (entry.compressed !== undefined) this.#add(entry.compressed.offset, entry.compressed.bytes);
        else if (entry.host !== 0) this.#add(entry.host, 1);
      }
    }
  }

  async #read(offset: number, bytes: number, what: string): Promise<Uint8Array> {
    if (!Number.isSafeInteger(offset) || offset + bytes > this.#image.file.sizeBytes)
      throw this.#image.damaged(`has ${what} beyond the end of its file`);
    const table = new Uint8Array(bytes);
    await this.#image.file.read(offset, [table]);
    return table;
  }

  /** One reference more to each cluster that the bytes touch. */
  #add(offset: number, bytes: number): void {
    const { geometry } = this.#image;
    const first = geometry.cluster(offset);
    const end = geometry.clustersOf(offset + bytes);
    if (end > MAXIMUM_CLUSTERS) throw this.#tooMuch();
    if (end > this.counts.length) {
      const larger = new Uint32Array(Math.min(MAXIMUM_CLUSTERS, end * 2));
      larger.set(this.counts);
      this.counts = larger;
    }
    this.end = Math.max(this.end, end);
    for (let cluster = first; cluster < end; cluster++) this.counts[cluster] = (this.counts[cluster] ?? 0) + 1;
  }

  #tooMuch(): BlockStoreError {
    const { name } = this.#image.file;
    return new BlockStoreError(
      'unsupported',
      `Disk "${name}" was not closed when it was used last, and is too large to be repaired here; "qemu-img check -r all" repairs it`,
    );
  }
}

/** New blocks and a new table, behind everything else. */
class NewCounts {
  readonly #image: Qcow2Image;
  readonly #counts: Uint32Array;
  readonly #first: number;
  #clusters = 0;
  #tableClusters = 0;
  /** Numbers of the blocks that count something. */
  #blocks: number[] = [];

  constructor(image: Qcow2Image, counts: Uint32Array, first: number) {
    this.#image = image;
    this.#counts = counts;
    this.#first = first;
    this.#lay();
  }

  /** What there must be depends on how much room it takes itself. */
  #lay(): void {
    const { geometry } = this.#image;
    const { refcountBlockEntries, clusterBytes } = geometry;
    for (;;) {
      const end = this.#first + this.#clusters;
      this.#blocks = [];
      for (let block = 0; block * refcountBlockEntries < end; block++)
        if (this.#isNeeded(block, end)) this.#blocks.push(block);
      this.#tableClusters = geometry.clustersOf(Math.ceil(end / refcountBlockEntries) * ENTRY_BYTES);
      const clusters = this.#blocks.length + this.#tableClusters;
      if (clusters <= this.#clusters) break;
      this.#clusters = clusters;
    }
    if (this.#tableClusters * clusterBytes > MAXIMUM_REFCOUNT_TABLE_BYTES) throw this.#image.full();
  }

  #isNeeded(block: number, end: number): boolean {
    const { refcountBlockEntries } = this.#image.geometry;
    const from = block * refcountBlockEntries;
    const to = Math.min(from + refcountBlockEntries, end);
    return to > this.#first || this.#counts.subarray(from, to).some((count) => count > 0);
  }

  async write(): Promise<void> {
    const { file, geometry } = this.#image;
    const { clusterBytes, refcountBlockEntries, refcountOrder } = geometry;
    const used = this.#first + this.#blocks.length + this.#tableClusters;
    const most = 2 ** (2 ** refcountOrder) - 1;
    const table = new Uint8Array(this.#tableClusters * clusterBytes);
    for (const [position, index] of this.#blocks.entries()) {
      const block = new Uint8Array(clusterBytes);
      const base = index * refcountBlockEntries;
      for (let entry = 0; entry < refcountBlockEntries && base + entry < used; entry++) {
        const count = base + entry < this.#first ? (this.#counts[base + entry] ?? 0) : 1;
        if (count > most) throw this.#image.damaged(`points to cluster ${base + entry} more often than it can count`);
        if (count > 0) setRefcount(block, entry, count, refcountOrder);
      }
      const offset = (this.#first + position) * clusterBytes;
      write64(viewOf(table), index * ENTRY_BYTES, offset);
      await file.write(offset, [block]);
    }
    const offset = (this.#first + this.#blocks.length) * clusterBytes;
    await file.write(offset, [table]);
    await file.flush();
    const fields = new Uint8Array(12);
    write64(viewOf(fields), 0, offset);
    viewOf(fields).setUint32(8, this.#tableClusters);
    await file.write(FIELD.refcountTableOffset, [fields]);
    await file.flush();
  }
}

/** The offsets in an L1 table, without those that are none. */
function offsetsOf(l1: Uint8Array): number[] {
  const view = viewOf(l1);
  const offsets: number[] = [];
  for (let at = 0; at < l1.length; at += ENTRY_BYTES) {
    const offset = (view.getUint32(at) & OFFSET_HIGH) * 2 ** 32 + view.getUint32(at + 4);
    if (offset !== 0) offsets.push(offset);
  }
  return offsets;
}
