/**
 * Writing: into the clusters that are there already and ours alone, else into new ones.
 *
 * A new cluster is written once, the guest's bytes and around them what the disk showed there before, and only then does the table point
 * to it. Where that is zeroes and the cluster lies behind the file's end, nothing need be written: the file's gaps are zero.
 */

import { vectorBytes, vectorSlice } from '../vector.ts';
import type { ClusterReader } from './cluster-reader.ts';
import type { Qcow2Image } from './image.ts';
import type { IntervalLock } from '../interval-lock.ts';
import { Jobs } from './jobs.ts';
import { UNALLOCATED } from './l2-entry.ts';
import type { L2Entry } from './l2-entry.ts';
import type { Mapping } from './mapping.ts';
import type { ClusterRun, Refcounts } from './refcounts.ts';
import type { Table } from './table.ts';
import type { WriteBack } from './write-back.ts';

/** What is allocated in one go, at the most; a cluster at the least. */
const MAXIMUM_RUN_BYTES = 2 * 1024 * 1024;

export interface ClusterChangerParts {
  readonly image: Qcow2Image;
  readonly mapping: Mapping;
  readonly refcounts: Refcounts;
  readonly locks: IntervalLock;
  readonly writeBack: WriteBack;
  readonly reader: ClusterReader;
}

export class ClusterWriter {
  readonly #parts: ClusterChangerParts;

  constructor(parts: ClusterChangerParts) {
    this.#parts = parts;
  }

  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    const { mapping, image, writeBack } = this.#parts;
    const { l2CoverageBytes } = image.geometry;
    const total = vectorBytes(from);
    const jobs = new Jobs();
    try {
      for (let done = 0; done < total;) {
        const at = offset + done;
        const l1Index = Math.floor(at / l2CoverageBytes);
        const bytes = Math.min(total - done, (l1Index + 1) * l2CoverageBytes - at);
        const peeked = mapping.peek(l1Index);
        const table = peeked === 'unread' ? await mapping.load(l1Index) : peeked;
        const place = this.#inPlace(table, at, bytes);
        if (place.bytes > 0) {
          jobs.add(writeBack.track(image.file.write(place.host, vectorSlice(from, done, place.bytes))));
          done += place.bytes;
        } else done += await this.#allocating(at, vectorSlice(from, done, bytes), bytes);
      }
    } finally {
      await jobs.settled();
    }
    jobs.check();
  }

  /** How many bytes from `offset` on can be written where they are, side by side, and where that is. */
  #inPlace(table: Table | undefined, offset: number, limit: number): { readonly host: number; readonly bytes: number } {
    const { mapping, image } = this.#parts;
    const { geometry, metadata } = image;
    let host = 0;
    let bytes = 0;
    while (table !== undefined && bytes < limit) {
      const cluster = geometry.cluster(offset + bytes);
      const within = offset + bytes - cluster * geometry.clusterBytes;
      const entry = mapping.entry(table, cluster);
      if (!entry.copied || entry.allocated === 0) break;
      if (bytes === 0) host = entry.host + within;
      else if (entry.host + within !== host + bytes) break;
      if (metadata.has(geometry.cluster(entry.host)))
        throw image.damaged(`keeps cluster ${cluster} of the disk where it has a table`);
      const end = endOfAllocated(
        entry,
        within,
        Math.min(geometry.clusterBytes, within + limit - bytes),
        geometry.subclusterBytes,
      );
      bytes += end - within;
      if (end < geometry.clusterBytes) break;
    }
    return { host, bytes };
  }

  /** Writes the first bytes of `from`, as many as go in one piece, to places that the table does not have yet; gives how many. */
  async #allocating(offset: number, from: readonly Uint8Array[], bytes: number): Promise<number> {
    const { mapping, image, locks } = this.#parts;
    const { geometry } = image;
    const first = geometry.cluster(offset);
    const longest = Math.max(1, Math.floor(MAXIMUM_RUN_BYTES / geometry.clusterBytes));
    const last = Math.min(geometry.cluster(offset + bytes - 1), first + longest - 1);
    const unlock = await locks.acquire(first, last);
    try {
      const table = await mapping.load(Math.floor(offset / geometry.l2CoverageBytes));
      // Somebody else may have had the lock, and have done it.
      if (this.#inPlace(table, offset, 1).bytes > 0) return 0;
      const entries: L2Entry[] = [];
      for (let cluster = first; cluster <= last; cluster++)
        entries.push(table === undefined ? UNALLOCATED : mapping.entry(table, cluster));
      const [entry = UNALLOCATED] = entries;
      if (entry.copied)
        return await this.#fillIn(offset, from, Math.min(bytes, endOf(first, geometry.clusterBytes) - offset), entry);
      const reusable = entries.findIndex(({ copied }) => copied);
      const fresh = reusable < 0 ? entries : entries.slice(0, reusable);
      return await this.#toNewClusters(offset, from, bytes, fresh);
    } finally {
      unlock();
    }
  }

  /** The cluster has a place of its own, but what is written there does not count yet: it reads as zero, or comes from behind. */
  async #fillIn(offset: number, from: readonly Uint8Array[], bytes: number, entry: L2Entry): Promise<number> {
    const { mapping, image, reader, writeBack } = this.#parts;
    const { geometry } = image;
    const { clusterBytes, subclusterBytes } = geometry;
    const cluster = geometry.cluster(offset);
    const start = cluster * clusterBytes;
    const low = offset - start;
    const high = low + bytes;
    if (image.metadata.has(geometry.cluster(entry.host)))
      throw image.damaged(`keeps cluster ${cluster} of the disk where it has a table`);
    const touched = geometry.touched(low, high);
    const isThere = (at: number): boolean => (entry.allocated & (2 ** Math.floor(at / subclusterBytes))) !== 0;
    const fillFrom = isThere(low) ? low : low - (low % subclusterBytes);
    const fillTo = isThere(high - 1) ? high : Math.ceil(high / subclusterBytes) * subclusterBytes;
    const [head, tail] = await reader.around(start + fillFrom, offset, start + high, start + fillTo);
    const filled = [
      head ?? new Uint8Array(low - fillFrom),
      ...vectorSlice(from, 0, bytes),
      tail ?? new Uint8Array(fillTo - high),
    ];
    await writeBack.track(image.file.write(entry.host + fillFrom, filled));
    await mapping.change(Math.floor(offset / geometry.l2CoverageBytes), (_table, set) => {
      const allocated = (entry.allocated | touched) >>> 0;
      set(cluster, { ...entry, allocated, zeroes: (entry.zeroes & ~touched) >>> 0 });
      return [];
    });
    return bytes;
  }

  /** Writes to new clusters, one for each of `entries` or as many as there are side by side, and points the table to them. */
  async #toNewClusters(
    offset: number,
    from: readonly Uint8Array[],
    limit: number,
    entries: readonly L2Entry[],
  ): Promise<number> {
    const { mapping, image, reader, refcounts, writeBack } = this.#parts;
    const { geometry } = image;
    const { clusterBytes } = geometry;
    const first = geometry.cluster(offset);
    const run = await refcounts.allocate(entries.length);
    const host = run.first * clusterBytes;
    const isBehindEnd = host >= image.file.sizeBytes;
    const start = first * clusterBytes;
    const low = offset - start;
    const bytes = Math.min(limit, run.count * clusterBytes - low);
    const high = low + bytes;
    try {
      // In the first and in the last cluster there is more to keep than what is written.
      const lastStart = (run.count - 1) * clusterBytes;
      const fillFrom = Math.min(low, this.#keptFrom(entries[0] ?? UNALLOCATED, low));
      const fillTo =
        lastStart + Math.max(high - lastStart, this.#keptTo(entries[run.count - 1] ?? UNALLOCATED, high - lastStart));
      let [head, tail] = await reader.around(start + fillFrom, offset, start + high, start + fillTo);
      if (!isBehindEnd) {
        head ??= new Uint8Array(low - fillFrom);
        tail ??= new Uint8Array(fillTo - high);
      }
      const at = host + (head === undefined ? low : fillFrom);
      await writeBack.track(
        image.file.write(at, [...(head ? [head] : []), ...vectorSlice(from, 0, bytes), ...(tail ? [tail] : [])]),
      );
      await mapping.change(Math.floor(offset / geometry.l2CoverageBytes), (_table, set) => {
        const freed: ClusterRun[] = [];
        for (let index = 0; index < run.count; index++) {
          const old = entries[index] ?? UNALLOCATED;
          const written = geometry.touched(
            index === 0 ? fillFrom : 0,
            index === run.count - 1 ? fillTo - lastStart : clusterBytes,
          );
          set(first + index, {
            host: host + index * clusterBytes,
            copied: true,
            allocated: written,
            zeroes: (old.zeroes & ~written) >>> 0,
            compressed: undefined,
          });
          freed.push(...this.givenUp(old));
        }
        return freed;
      });
      return bytes;
    } catch (error) {
      // Nothing points to them yet.
      if (!image.isDamage(error)) await refcounts.release([run]).catch(() => {});
      throw error;
    }
  }

  /** Where what must be kept of a cluster begins, when its first byte to be written is `low`. */
  #keptFrom(entry: L2Entry, low: number): number {
    const { subclusterBytes } = this.#parts.image.geometry;
    if (entry.compressed !== undefined) return 0;
    const lowest = entry.allocated === 0 ? Infinity : 31 - Math.clz32(entry.allocated & -entry.allocated);
    return Math.min(lowest * subclusterBytes, low - (low % subclusterBytes));
  }

  /** Where what must be kept of a cluster ends, when the last byte to be written is before `high`. */
  #keptTo(entry: L2Entry, high: number): number {
    const { clusterBytes, subclusterBytes } = this.#parts.image.geometry;
    if (entry.compressed !== undefined) return clusterBytes;
    const behindHighest = entry.allocated === 0 ? 0 : 32 - Math.clz32(entry.allocated);
    return Math.max(behindHighest * subclusterBytes, Math.ceil(high / subclusterBytes) * subclusterBytes);
  }

  /** The clusters of the file that an entry pointed to. */
  givenUp({ host, compressed }: L2Entry): ClusterRun[] {
    const { image, reader } = this.#parts;
    const { geometry } = image;
    if (compressed === undefined) return host === 0 ? [] : [{ first: geometry.cluster(host), count: 1 }];
    reader.forget(compressed.offset);
    const first = geometry.cluster(compressed.offset);
    const last = geometry.cluster(compressed.offset + compressed.bytes - 1);
    return [{ first, count: last - first + 1 }];
  }
}

/** Up to where, from `from` on and at most to `to`, a cluster's bytes are its own. */
function endOfAllocated({ allocated }: L2Entry, from: number, to: number, subclusterBytes: number): number {
  let at = from;
  while (at < to) {
    const index = Math.floor(at / subclusterBytes);
    if ((allocated & (2 ** index)) === 0) break;
    at = Math.min(to, (index + 1) * subclusterBytes);
  }
  return at;
}

function endOf(cluster: number, clusterBytes: number): number {
  return (cluster + 1) * clusterBytes;
}
