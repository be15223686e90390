/**
 * Discarding and zeroing: whole clusters and subclusters in the tables, the rest by writing.
 *
 * A discarded cluster reads as zero afterwards, and its place in the file is free. Where that cannot be said (version 2 has no mark for
 * zeroes, and behind the cluster there is a backing disk) it stays.
 */

import { ZEROES } from '../zeroes.ts';
import type { ClusterChangerParts, ClusterWriter } from './cluster-writer.ts';
import { UNALLOCATED } from './l2-entry.ts';
import type { L2Entry } from './l2-entry.ts';
import type { ClusterRun } from './refcounts.ts';

export interface ClusterZeroerParts extends ClusterChangerParts {
  readonly writer: ClusterWriter;
  readonly hasBacking: boolean;
}

/** A new entry for an old one, or undefined where it stays; the old one's place is given up where the new one has none. */
type Change = (entry: L2Entry, cluster: number) => L2Entry | undefined;

export class ClusterZeroer {
  readonly #parts: ClusterZeroerParts;

  constructor(parts: ClusterZeroerParts) {
    this.#parts = parts;
  }

  async discard(offset: number, bytes: number): Promise<void> {
    const { image, hasBacking } = this.#parts;
    const { geometry, header } = image;
    if (header.version === 2 && hasBacking) return;
    const gone = hasBacking ? { ...UNALLOCATED, zeroes: geometry.allSubclusters } : UNALLOCATED;
    const first = geometry.clustersOf(offset);
    const end = this.#isEnd(offset + bytes) ? geometry.clustersOf(offset + bytes) : geometry.cluster(offset + bytes);
    await this.#changeEntries(first, end, (entry) =>
      entry.host === 0 && entry.compressed === undefined ? undefined : gone,
    );
  }

  async writeZeroes(offset: number, bytes: number, mayDiscard: boolean): Promise<void> {
    const { image, hasBacking } = this.#parts;
    const { geometry, header } = image;
    if (header.version === 2) {
      if (mayDiscard && !hasBacking) await this.discard(offset, bytes);
      await this.#writeWhereNotZero(offset, offset + bytes);
      return;
    }
    const unit = geometry.subclusterBytes;
    const from = Math.ceil(offset / unit) * unit;
    const end = offset + bytes;
    const to = this.#isEnd(end) ? Math.ceil(end / unit) * unit : Math.floor(end / unit) * unit;
    if (to <= from) {
      await this.#writeWhereNotZero(offset, end);
      return;
    }
    await this.#writeWhereNotZero(offset, from);
    // A part of a compressed cluster cannot be marked.
    const toWrite: { readonly from: number; readonly to: number }[] = [];
    await this.#changeEntries(geometry.cluster(from), geometry.clustersOf(to), (entry, cluster) => {
      const start = cluster * geometry.clusterBytes;
      const low = Math.max(0, from - start);
      const high = Math.min(geometry.clusterBytes, to - start);
      const covered = geometry.covered(low, high);
      const isWhole = covered === geometry.allSubclusters;
      if (entry.compressed !== undefined && !isWhole) {
        toWrite.push({ from: start + low, to: start + high });
        return undefined;
      }
      const isNothing = entry.host === 0 && entry.compressed === undefined;
      if (isNothing && (!hasBacking || (entry.zeroes & covered) >>> 0 === covered)) return undefined;
      const allocated = (entry.allocated & ~covered) >>> 0;
      const zeroes = (entry.zeroes | covered) >>> 0;
      const givesUp = isWhole && (mayDiscard || !entry.copied);
      return givesUp ? { ...UNALLOCATED, zeroes } : { ...entry, allocated, zeroes };
    });
    for (const range of toWrite) await this.#writeWhereNotZero(range.from, range.to);
    await this.#writeWhereNotZero(Math.max(from, to), end);
  }

  /** The disk's last cluster counts as whole, although the disk may end within it. */
  #isEnd(offset: number): boolean {
    return offset === this.#parts.image.header.sizeBytes;
  }

  async #changeEntries(first: number, end: number, change: Change): Promise<void> {
    const { l2Entries } = this.#parts.image.geometry;
    for (let cluster = first; cluster < end;) {
      const l1Index = Math.floor(cluster / l2Entries);
      const next = Math.min(end, (l1Index + 1) * l2Entries);
      await this.#changeInTable(l1Index, cluster, next, change);
      cluster = next;
      if (this.#parts.mapping.isFull) await this.#parts.writeBack.flush();
    }
  }

  async #changeInTable(l1Index: number, first: number, end: number, change: Change): Promise<void> {
    const { mapping, locks, writer } = this.#parts;
    const unlock = await locks.acquire(first, end - 1);
    try {
      const table = await mapping.load(l1Index);
      const changes = new Map<number, { readonly old: L2Entry; readonly entry: L2Entry }>();
      for (let cluster = first; cluster < end; cluster++) {
        const old = table === undefined ? UNALLOCATED : mapping.entry(table, cluster);
        const entry = change(old, cluster);
        if (entry !== undefined) changes.set(cluster, { old, entry });
      }
      if (changes.size === 0) return;
      await mapping.change(l1Index, (_table, set) => {
        const freed: ClusterRun[] = [];
        for (const [cluster, { old, entry }] of changes) {
          set(cluster, entry);
          if (entry.host === 0) freed.push(...writer.givenUp(old));
        }
        return freed;
      });
    } finally {
      unlock();
    }
  }

  /** Writes zeroes to those clusters' parts of a range that do not read as zero already. */
  async #writeWhereNotZero(from: number, to: number): Promise<void> {
    const { image, reader, writer } = this.#parts;
    const { clusterBytes } = image.geometry;
    for (let at = from; at < to;) {
      const step = Math.min(to, (image.geometry.cluster(at) + 1) * clusterBytes, at + ZEROES.length);
      if (!(await reader.isZero(at, step - at))) await writer.write(at, [ZEROES.subarray(0, step - at)]);
      at = step;
    }
  }
}
