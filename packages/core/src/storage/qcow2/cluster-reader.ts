/**
 * Reading: which parts of a range of the disk come from where, and their bytes.
 *
 *     range  ->  extents of one L2 table: data in the file | zeroes | the backing disk | a compressed cluster  ->  transfers side by side
 */

import { BlockStoreError } from '../../base/block-store-error.ts';
import { MiB } from '../../base/numbers.ts';
import type { BlockStore, HeldRun } from '../../base/ports.ts';
import { clear, vectorBytes, vectorSlice } from '../vector.ts';
import type { CompressionType } from './header.ts';
import type { Qcow2Image } from './image.ts';
import { Jobs } from './jobs.ts';
import type { CompressedExtent, L2Entry } from './l2-entry.ts';
import type { Mapping } from './mapping.ts';
import type { Table } from './table.ts';
import type { WriteBack } from './write-back.ts';

/**
 * Unpacks one cluster. `packed` begins with a raw deflate stream (RFC 1951) or a zstd frame (RFC 8878) and may have anything behind it;
 * the answer has at most `clusterBytes` bytes. Rejects with any error when it cannot be done.
 */
export type Decompress = (type: CompressionType, packed: Uint8Array, clusterBytes: number) => Promise<Uint8Array>;

/** Decompressed clusters that are kept for the next read: guests read in smaller pieces. */
const KEPT_BYTES = 2 * MiB;

/** At a time, by who asks for runs. */
const CLUSTERS_LOOKED_AT = 64;

/** Bytes of the disk, or undefined for zeroes. */
export type Content = Uint8Array | undefined;

/** Bytes of the disk, `bytes` of them, with one origin. */
type Extent =
  | { readonly kind: 'data'; readonly host: number; readonly bytes: number }
  | { readonly kind: 'zero' | 'backing'; readonly bytes: number }
  | {
      readonly kind: 'compressed';
      readonly from: CompressedExtent;
      readonly cluster: number;
      readonly offset: number;
      readonly bytes: number;
    };

export interface ClusterReaderParts {
  readonly image: Qcow2Image;
  readonly mapping: Mapping;
  readonly writeBack: WriteBack;
  readonly backing?: BlockStore | undefined;
  readonly decompress?: Decompress | undefined;
}

export class ClusterReader {
  readonly #parts: ClusterReaderParts;
  /** Decompressed clusters by where their packed bytes are, those used last at the end. */
  readonly #kept = new Map<number, Promise<Uint8Array>>();

  constructor(parts: ClusterReaderParts) {
    this.#parts = parts;
  }

  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    const { mapping } = this.#parts;
    const { l2CoverageBytes } = this.#parts.image.geometry;
    const total = vectorBytes(into);
    const jobs = new Jobs();
    try {
      for (let done = 0; done < total;) {
        const at = offset + done;
        const l1Index = Math.floor(at / l2CoverageBytes);
        const bytes = Math.min(total - done, (l1Index + 1) * l2CoverageBytes - at);
        const peeked = mapping.peek(l1Index);
        const table = peeked === 'unread' ? await mapping.load(l1Index) : peeked;
        // No wait between the look at the tables and the beginning of the transfers: see WriteBack.track.
        for (const extent of this.#extents(table, at, bytes)) {
          jobs.add(this.#transfer(extent, offset + done, vectorSlice(into, done, extent.bytes)));
          done += extent.bytes;
        }
      }
    } finally {
      await jobs.settled();
    }
    jobs.check();
  }

  /**
   * What the disk shows around a range that is to be written: from `from` to `low`, and from `high` to `to`; each is undefined when the
   * tables say that it is all zeroes. What lies beyond the disk's end, in its last cluster, is zero.
   */
  async around(from: number, low: number, high: number, to: number): Promise<readonly [Content, Content]> {
    const { clusterBytes } = this.#parts.image.geometry;
    const hasHead = low > from && !(await this.isZero(from, low - from));
    const hasTail = to > high && !(await this.isZero(high, to - high));
    // Within a cluster one larger read costs less than two.
    if (hasHead && hasTail && to - from <= clusterBytes) {
      const whole = await this.#content(from, to - from);
      return [whole.subarray(0, low - from), whole.subarray(high - from)];
    }
    return Promise.all([
      hasHead ? this.#content(from, low - from) : undefined,
      hasTail ? this.#content(high, to - high) : undefined,
    ]);
  }

  async #content(offset: number, bytes: number): Promise<Uint8Array> {
    const content = new Uint8Array(bytes);
    const there = Math.min(bytes, this.#parts.image.header.sizeBytes - offset);
    if (there > 0) await this.read(offset, [content.subarray(0, there)]);
    return content;
  }

  /** Whether the tables say that a range of one cluster reads as zero. */
  async isZero(offset: number, bytes: number): Promise<boolean> {
    const { mapping, image, backing } = this.#parts;
    const table = await mapping.load(Math.floor(offset / image.geometry.l2CoverageBytes));
    let at = offset;
    for (const extent of this.#extents(table, offset, bytes)) {
      const isBacked = extent.kind === 'backing' && backing !== undefined && at < backing.sizeBytes;
      if (isBacked || extent.kind === 'data' || extent.kind === 'compressed') return false;
      at += extent.bytes;
    }
    return true;
  }

  /** Whether the image holds what is at `offset` itself, and up to where that is so; a long run may come in pieces. */
  async ownRun(offset: number): Promise<HeldRun> {
    const { mapping, image } = this.#parts;
    const { l2CoverageBytes, clusterBytes } = image.geometry;
    const l1Index = Math.floor(offset / l2CoverageBytes);
    const tableEnd = Math.min((l1Index + 1) * l2CoverageBytes, image.header.sizeBytes);
    const table = await mapping.load(l1Index);
    if (table === undefined) return { held: false, endBytes: tableEnd };
    const bytes = Math.min(tableEnd - offset, CLUSTERS_LOOKED_AT * clusterBytes);
    let [endBytes, held] = [offset, false];
    for (const extent of this.#extents(table, offset, bytes)) {
      const isOwn = extent.kind !== 'backing';
      if (endBytes > offset && isOwn !== held) break;
      held = isOwn;
      endBytes += extent.bytes;
    }
    return { held, endBytes };
  }

  /** Where the bytes of a range are, which lies in one L2 table; neighbours are joined. */
  #extents(table: Table | undefined, offset: number, bytes: number): Extent[] {
    if (table === undefined) return [{ kind: 'backing', bytes }];
    const { mapping, image } = this.#parts;
    const { clusterBytes } = image.geometry;
    const extents: Extent[] = [];
    for (let done = 0; done < bytes;) {
      const at = offset + done;
      const cluster = image.geometry.cluster(at);
      const within = at - cluster * clusterBytes;
      const end = Math.min(clusterBytes, within + bytes - done);
      this.#extentsOfCluster(mapping.entry(table, cluster), cluster, within, end, extents);
      done += end - within;
    }
    return extents;
  }

  #extentsOfCluster(entry: L2Entry, cluster: number, from: number, to: number, extents: Extent[]): void {
    const { image } = this.#parts;
    const { subclusterBytes } = image.geometry;
    if (entry.compressed !== undefined) {
      extents.push({ kind: 'compressed', from: entry.compressed, cluster, offset: from, bytes: to - from });
      return;
    }
    if (entry.allocated !== 0 && entry.host >= image.file.sizeBytes)
      throw image.damaged(`keeps cluster ${cluster} of the disk beyond the end of its file, which was cut short`);
    for (let at = from; at < to;) {
      const index = Math.floor(at / subclusterBytes);
      const bytes = Math.min(to, (index + 1) * subclusterBytes) - at;
      const bit = 2 ** index;
      if ((entry.allocated & bit) !== 0) join(extents, { kind: 'data', host: entry.host + at, bytes });
      else join(extents, { kind: (entry.zeroes & bit) !== 0 ? 'zero' : 'backing', bytes });
      at += bytes;
    }
  }

  async #transfer(extent: Extent, offset: number, into: readonly Uint8Array[]): Promise<void> {
    const { image, writeBack, backing } = this.#parts;
    switch (extent.kind) {
      case 'data':
        await writeBack.track(image.file.read(extent.host, into));
        return;
      case 'zero':
        clear(into);
        return;
      case 'compressed': {
        let at = extent.offset;
        const cluster = await this.#decompressed(extent.from, extent.cluster);
        for (const view of into) {
          view.set(cluster.subarray(at, at + view.length));
          at += view.length;
        }
        return;
      }
      default: {
        const there = backing === undefined ? 0 : Math.max(0, Math.min(extent.bytes, backing.sizeBytes - offset));
        clear(vectorSlice(into, there, extent.bytes - there));
        if (there > 0) await backing?.read(offset, vectorSlice(into, 0, there));
      }
    }
  }

  #decompressed(from: CompressedExtent, cluster: number): Promise<Uint8Array> {
    const { clusterBytes } = this.#parts.image.geometry;
    let unpacked = this.#kept.get(from.offset);
    if (unpacked === undefined) {
      unpacked = this.#unpack(from, cluster);
      unpacked.catch(() => this.#kept.delete(from.offset));
    } else this.#kept.delete(from.offset);
    this.#kept.set(from.offset, unpacked);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > Math.max(1, KEPT_BYTES / clusterBytes) && oldest !== undefined) this.#kept.delete(oldest);
    return unpacked;
  }

  async #unpack({ offset, bytes }: CompressedExtent, cluster: number): Promise<Uint8Array> {
    const { image, writeBack, decompress } = this.#parts;
    const { compression } = image.header;
    if (decompress === undefined)
      throw new BlockStoreError(
        'unsupported',
        `Disk "${image.file.name}" is compressed, and there is nothing here that can read that`,
      );
    if (offset >= image.file.sizeBytes)
      throw image.damaged(`keeps cluster ${cluster} of the disk beyond the end of its file, which was cut short`);
    const packed = new Uint8Array(bytes);
    await writeBack.track(image.file.read(offset, [packed]));
    const { clusterBytes } = image.geometry;
    const problem = `cluster ${cluster} of the disk is compressed, and its data is damaged`;
    const unpacked = await decompress(compression, packed, clusterBytes).catch((error: unknown) => {
      throw image.unreadable(problem, error);
    });
    if (unpacked.length !== clusterBytes) throw image.unreadable(problem);
    return unpacked;
  }

  /** The packed bytes at an offset are no more: what was kept of them must not be found when others come there. */
  forget(offset: number): void {
    this.#kept.delete(offset);
  }
}

/** Adds an extent, to the last one where it goes on from there. */
function join(extents: Extent[], extent: Extract<Extent, { readonly kind: 'data' | 'zero' | 'backing' }>): void {
  const last = extents.at(-1);
  if (last?.kind === 'data' && extent.kind === 'data' && last.host + last.bytes === extent.host)
    extents[extents.length - 1] = { ...last, bytes: last.bytes + extent.bytes };
  else if (last !== undefined && last.kind === extent.kind && last.kind !== 'data')
    extents[extents.length - 1] = { kind: last.kind, bytes: last.bytes + extent.bytes };
  else extents.push(extent);
}
