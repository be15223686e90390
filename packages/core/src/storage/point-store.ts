/**
 * A disk as it was at one moment, for those who read it while its machine writes on:
 *
 *     before   the machine is about to change a granule: it is put aside first, where it is so for the first time
 *     read     what was put aside, and else what the disk holds still
 *
 *     a point ──> [put aside since] ──> the disk          two of them      first ──> [put aside until the second] ──> second ──> [since] ──> the disk
 *
 * So the machine's own disk stays the only one there is of it, whatever becomes of those who read the point.
 *
 * INVARIANT: a granule is marked before its first change since the moment begins; who has read one that was marked meanwhile reads it again.
 */

import { BlockStoreError } from '../base/block-store-error.ts';
import type { BlockStore, HeldRun } from '../base/ports.ts';
import { heldRun, ReadOnlyStore } from './shared-store.ts';
import { vectorBytes } from './vector.ts';
import { isZero } from './zeroes.ts';

/** What is put aside at once. */
export const POINT_GRANULE_BYTES = 64 * 1024;

/** What is put aside in one piece, and how many pieces at once: 1 MiB, and eight of it. */
const PIECE_GRANULES = 16;
const LANES = 8;

/** Puts an empty image in front of a disk; closing it closes both. */
export type OverlayMaker = (backing: BlockStore) => Promise<BlockStore>;

export class PointStore extends ReadOnlyStore {
  readonly sizeBytes: number;
  /** What was put aside, and behind it the disk, or the next point. */
  readonly #kept: BlockStore;
  readonly #lanes: Promise<void>[] = [];
  #nextLane = 0;
  readonly #behind: Behind;
  readonly #count: number;
  /** Granules that were put aside, or are about to be: a bit each. */
  readonly #marked: Uint8Array;
  readonly #underWay = new Map<number, Promise<void>>();
  /** Those that could not be put aside. */
  readonly #lost = new Set<number>();
  #isClosed = false;
  /** Called when it is over. */
  onClosed: () => void = () => undefined;

  /** Of a disk that it closes with itself; the moment is whenever `before` is asked from. */
  static async of(disk: BlockStore, overlay: OverlayMaker): Promise<PointStore> {
    const behind = new Behind(disk);
    return new PointStore(behind, await overlay(behind));
  }

  private constructor(behind: Behind, kept: BlockStore) {
    super();
    this.#behind = behind;
    this.#kept = kept;
    this.sizeBytes = behind.sizeBytes;
    this.#count = Math.ceil(this.sizeBytes / POINT_GRANULE_BYTES);
    this.#marked = new Uint8Array(Math.ceil(this.#count / 8));
  }

  /** Whether nobody reads it any more. */
  get isOver(): boolean {
    return this.#isClosed;
  }

  /** Resolves when these bytes of the disk may be changed. Never rejects: what cannot be put aside is missing to those who read the point. */
  async before(offsetBytes: number, bytes: number): Promise<void> {
    if (bytes === 0 || this.#isClosed) return;
    const waits = new Set<Promise<void>>();
    const end = Math.ceil((offsetBytes + bytes) / POINT_GRANULE_BYTES);
    for (let n = Math.floor(offsetBytes / POINT_GRANULE_BYTES); n < end && !this.#isClosed; n++) {
      const known = this.#underWay.get(n);
      if (known !== undefined) waits.add(known);
      else if (!this.#isMarked(n)) {
        let count = 1;
        while (n + count < end && count < PIECE_GRANULES && !this.#isMarked(n + count)) count++;
        // One piece after the other: a guest may discard gigabytes at once.
        await this.#putAside(n, count);
      }
    }
    await Promise.all(waits);
  }

  /** From now on `next`, a later point of the same disk, is asked `before` in its place. Only while no request is under way. */
  followedBy(next: BlockStore): void {
    this.#behind.become(next);
  }

  async read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    const bytes = vectorBytes(into);
    if (bytes === 0) return;
    const end = Math.ceil((offsetBytes + bytes) / POINT_GRANULE_BYTES);
    const first = Math.floor(offsetBytes / POINT_GRANULE_BYTES);
    for (;;) {
      const busy = this.#underWayIn(first, end);
      if (busy !== undefined) {
        await busy;
        continue;
      }
      // No wait from here to the read: what is not put aside when that begins is marked when it is over, or was not changed.
      for (const n of this.#lost)
        if (n >= first && n < end)
          throw new BlockStoreError('full', 'The disk as it was cannot be read: a part of it could not be put aside');
      const [marked, disk] = [this.#markedIn(first, end), this.#behind.disk];
      await this.#kept.read(offsetBytes, into);
      if (marked === this.#markedIn(first, end) && disk === this.#behind.disk) return;
    }
  }

  /** What was put aside counts as held, for it is known no more by which of the disk's images. */
  async heldRun(offsetBytes: number, layers: number): Promise<HeldRun> {
    for (;;) {
      const { disk } = this.#behind;
      const run = await heldRun(this.#kept, offsetBytes, layers + 1);
      if (disk !== this.#behind.disk) continue;
      if (run.held) return run;
      const first = Math.floor(offsetBytes / POINT_GRANULE_BYTES);
      const end = Math.ceil(run.endBytes / POINT_GRANULE_BYTES);
      let n = first;
      while (n < end && !this.#isMarked(n)) n++;
      if (n === end) return run;
      return n > first
        ? { held: false, endBytes: n * POINT_GRANULE_BYTES }
        : { held: true, endBytes: Math.min(this.sizeBytes, (n + 1) * POINT_GRANULE_BYTES) };
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.onClosed();
    await Promise.all(this.#underWay.values());
    await this.#kept.close();
  }

  #putAside(first: number, count: number): Promise<void> {
    for (let n = first; n < first + count; n++) this.#marked[n >>> 3] = (this.#marked[n >>> 3] ?? 0) | (1 << (n & 7));
    const done = (async () => {
      try {
        await this.#inLane(() => this.#copy(first, count));
      } catch {
        for (let n = first; n < first + count; n++) this.#lost.add(n);
      }
      for (let n = first; n < first + count; n++) this.#underWay.delete(n);
    })();
    for (let n = first; n < first + count; n++) this.#underWay.set(n, done);
    return done;
  }

  /** Does `work` when one that began before is over: so many are under way at most, whatever is asked for. */
  async #inLane(work: () => Promise<void>): Promise<void> {
    const lane = this.#nextLane++ % LANES;
    const mine = (this.#lanes[lane] ?? Promise.resolve()).then(work);
    this.#lanes[lane] = mine.catch(() => undefined);
    await mine;
  }

  async #copy(first: number, count: number): Promise<void> {
    const from = first * POINT_GRANULE_BYTES;
    const bytes = new Uint8Array(Math.min(this.sizeBytes - from, count * POINT_GRANULE_BYTES));
    await this.#behind.read(from, [bytes]);
    if (isZero(bytes)) await this.#kept.writeZeroes(from, bytes.length, true);
    else await this.#kept.write(from, [bytes]);
  }

  #isMarked(n: number): boolean {
    return ((this.#marked[n >>> 3] ?? 0) & (1 << (n & 7))) !== 0;
  }

  #underWayIn(first: number, end: number): Promise<void> | undefined {
    for (let n = first; n < end; n++) if (this.#underWay.has(n)) return this.#underWay.get(n);
    return undefined;
  }

  #markedIn(first: number, end: number): number {
    let count = 0;
    for (let n = first; n < end; n++) if (this.#isMarked(n)) count++;
    return count;
  }
}

/** The disk itself, until a later point of it stands there. */
class Behind extends ReadOnlyStore {
  readonly sizeBytes: number;
  #disk: BlockStore;

  constructor(disk: BlockStore) {
    super();
    this.#disk = disk;
    this.sizeBytes = disk.sizeBytes;
  }

  get disk(): BlockStore {
    return this.#disk;
  }

  become(next: BlockStore): void {
    const before = this.#disk;
    this.#disk = next;
    // The next point has the disk open, too: nothing is closed by that.
    void before.close();
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#disk.read(offsetBytes, into);
  }

  heldRun(offsetBytes: number, layers: number): Promise<HeldRun> {
    return heldRun(this.#disk, offsetBytes, layers);
  }

  close(): Promise<void> {
    return this.#disk.close();
  }
}
