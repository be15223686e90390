/**
 * A disk of a machine that may be forked. What it holds then, its forks have behind overlays of their own; the machine goes on with the disk itself.
 *
 *     machine ──> the disk <──┐
 *     fork ─────> overlay ────┴── as it was (point-store.ts), closed with the last that reads it
 *
 * A disk that is only read is the same for all of them.
 */

import { assert } from '../base/assert.ts';
import type { BlockStore, HeldRun } from '../base/ports.ts';
import { AbsentStore } from './absent-store.ts';
import type { DiskMirror } from './disk-mirror.ts';
import type { PointCopy } from './point-copy.ts';
import { type OverlayMaker, PointStore } from './point-store.ts';
import { heldRun, SharedStore } from './shared-store.ts';
import { vectorBytes } from './vector.ts';

/** Forks of forks of forks: the last reads through what all of them wrote. */
export const MAXIMUM_FORK_DEPTH = 32;
/** Moments of one disk that somebody reads still: who reads the first may have to look through all of them. */
export const MAXIMUM_FORK_POINTS = 256;

/** A fork of a disk that can happen at once. */
export interface PreparedFork {
  readonly forks: readonly ForkableStore[];
  /** From here on writes of the machine and of its forks are each their own. Only while no request is under way. */
  commit(): void;
  /** It does not happen after all. */
  abandon(): Promise<void>;
}

export class ForkableStore implements BlockStore {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly discardGranularityBytes: number | undefined;
  #front: SharedStore;
  /** Overlays in front of what was opened. */
  readonly #depth: number;
  /** The last of its moments, and how many of them are read still. */
  #point: SharedStore<PointStore> | undefined;
  #points = 0;
  /** What was read and written since it is there. */
  readonly counts = { operations: 0, bytes: 0 };
  /** What is being copied as it was at a moment, and waits for nothing: changes wait for it. */
  #copy: PointCopy | undefined;
  /** What is told of changes when they are over. */
  #mirror: DiskMirror | undefined;

  /** `like`: what of it a guest has seen already. */
  constructor(front: BlockStore, like?: ForkableStore) {
    this.#front = new SharedStore(front);
    this.#depth = like === undefined ? 0 : like.#depth + 1;
    this.sizeBytes = front.sizeBytes;
    this.readOnly = like?.readOnly ?? front.readOnly;
    this.discardGranularityBytes = like === undefined ? front.discardGranularityBytes : like.discardGranularityBytes;
  }

  /** Whether there is room for forks. */
  get isForkable(): boolean {
    return this.readOnly || (this.#depth < MAXIMUM_FORK_DEPTH && this.#points < MAXIMUM_FORK_POINTS);
  }

  /** Makes ready for `count` forks. The machine goes on as before until `commit`. */
  async prepare(count: number, overlay: OverlayMaker): Promise<PreparedFork> {
    assert(this.isForkable, 'a disk has room for forks');
    if (this.readOnly) {
      const forks = Array.from({ length: count }, () => new ForkableStore(this.#front.view(), this));
      return { forks, commit: () => undefined, abandon: () => closeAll(forks) };
    }
    const point = new SharedStore(await inFrontOf(this.#front.view(), (disk) => PointStore.of(disk, overlay)));
    const forks: ForkableStore[] = [];
    try {
      for (let fork = 0; fork < count; fork++)
        forks.push(new ForkableStore(await inFrontOf(point.view(), overlay), this));
    } catch (error) {
      await closeAll(forks);
      throw error;
    } finally {
      // It is theirs alone from now on.
      await point.release();
    }
    return {
      forks,
      commit: () => {
        // Who read the moment before reads on through this one, as far as nothing was changed in between.
        if (this.#point?.store.isOver === false) this.#point.store.followedBy(point.view());
        this.#point = point;
        this.#points++;
        point.store.onClosed = () => this.#points--;
      },
      abandon: () => closeAll(forks),
    };
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    this.#count(vectorBytes(into));
    return this.#front.store.read(offsetBytes, into);
  }

  /** From now on `copy` is told what is about to be changed. Only while no request is under way; undefined when it is over. */
  set copy(copy: PointCopy | undefined) {
    assert(copy === undefined || this.#copy === undefined, 'a disk is copied once at a time');
    this.#copy = copy;
  }

  /** From now on `mirror` is told what was changed. Only while no request is under way, unless it is over. */
  set mirror(mirror: DiskMirror | undefined) {
    assert(mirror === undefined || this.#mirror === undefined, 'a disk is mirrored once at a time');
    this.#mirror = mirror;
  }

  heldRun(offsetBytes: number, layers: number): Promise<HeldRun> {
    return heldRun(this.#front.store, offsetBytes, layers + this.#depth);
  }

  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    const bytes = vectorBytes(from);
    this.#count(bytes);
    return this.#changed(offsetBytes, bytes, () => this.#front.store.write(offsetBytes, from));
  }

  #count(bytes: number): void {
    this.counts.operations++;
    this.counts.bytes += bytes;
  }

  writeZeroes(offsetBytes: number, bytes: number, mayDiscard: boolean): Promise<void> {
    return this.#changed(offsetBytes, bytes, () => this.#front.store.writeZeroes(offsetBytes, bytes, mayDiscard));
  }

  discard(offsetBytes: number, bytes: number): Promise<void> {
    return this.#changed(offsetBytes, bytes, () => this.#front.store.discard(offsetBytes, bytes));
  }

  #changed(offsetBytes: number, bytes: number, change: () => Promise<void>): Promise<void> {
    const [mirror, copy, point] = [this.#mirror, this.#copy, this.#point?.store];
    const isPointed = point?.isOver === false;
    const changed =
      copy === undefined && !isPointed
        ? change()
        : Promise.all([copy?.before(offsetBytes, bytes), isPointed && point.before(offsetBytes, bytes)]).then(change);
    return mirror === undefined ? changed : this.#mirrored(mirror, offsetBytes, bytes, changed);
  }

  async #mirrored(mirror: DiskMirror, offsetBytes: number, bytes: number, changed: Promise<void>): Promise<void> {
    try {
      await changed;
    } finally {
      // A part of one that failed may be there.
      mirror.changed(offsetBytes, bytes);
    }
    await mirror.room();
  }

  /** Whether others have its images. */
  get isHandedOver(): boolean {
    return this.#front.store instanceof AbsentStore;
  }

  /** Lets others have its images, with everything durable. Only while no request is under way, and none comes before `takeBack`. */
  async handOver(): Promise<void> {
    const front = this.#front;
    assert(!front.isShared, 'a disk that forks read is not handed over');
    await front.store.flush();
    this.#front = new SharedStore(new AbsentStore(this));
    await front.release();
  }

  /** It is made of these images now, which hold what the disk does. */
  takeBack(front: BlockStore): void {
    assert(this.isHandedOver, 'a disk is handed over before it is taken back');
    this.#front = new SharedStore(front);
  }

  flush(): Promise<void> {
    return this.#front.store.flush();
  }

  /** Nobody uses it any more; forks go on with what they have of it. */
  async close(): Promise<void> {
    const front = this.#front;
    try {
      if (front.isShared && !this.readOnly) await front.store.flush();
    } finally {
      await front.release();
    }
  }
}

async function closeAll(stores: readonly BlockStore[]): Promise<void> {
  await Promise.all(stores.map((store) => store.close()));
}

/** What closes `behind` with itself; it is closed when there is none. */
async function inFrontOf<T>(behind: BlockStore, make: (behind: BlockStore) => Promise<T>): Promise<T> {
  try {
    return await make(behind);
  } catch (error) {
    await behind.close();
    throw error;
  }
}
