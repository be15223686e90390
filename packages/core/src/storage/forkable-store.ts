/**
 * A disk of a machine that may be forked: what it holds then stands behind an overlay for the machine, and behind one for each of its forks.
 *
 *     before      machine ──> front                 after   machine ──> overlay ──┐
 *                                                           fork ─────> overlay ──┴──> what was the front, read by all, closed with the last
 *
 * A disk that is only read has no overlays.
 */

import { assert } from '../base/assert.ts';
import type { BlockStore, HeldRun } from '../base/ports.ts';
import { AbsentStore } from './absent-store.ts';
import type { DiskMirror } from './disk-mirror.ts';
import type { PointCopy } from './point-copy.ts';
import { vectorBytes } from './vector.ts';

/** Overlays in front of each other: who forks again and again reads through all of them. */
export const MAXIMUM_FORK_DEPTH = 32;

/** Puts an empty image in front of a disk; closing it closes both. */
export type OverlayMaker = (backing: BlockStore) => Promise<BlockStore>;

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
  #front: BlockStore;
  #depth: number;
  /** What was read and written since it is there. */
  readonly counts = { operations: 0, bytes: 0 };
  /** What is being copied as it was at a moment, and waits for nothing: changes wait for it. */
  #copy: PointCopy | undefined;
  /** What is told of changes when they are over. */
  #mirror: DiskMirror | undefined;

  /** `like`: what of it a guest has seen already. */
  constructor(front: BlockStore, like?: ForkableStore) {
    this.#front = front;
    this.#depth = like === undefined ? 0 : like.#depth + 1;
    this.sizeBytes = front.sizeBytes;
    this.readOnly = like?.readOnly ?? front.readOnly;
    this.discardGranularityBytes = like === undefined ? front.discardGranularityBytes : like.discardGranularityBytes;
  }

  /** Whether there is room for another overlay. */
  get isForkable(): boolean {
    return this.readOnly || this.#depth < MAXIMUM_FORK_DEPTH;
  }

  /** Makes ready for `count` forks. The machine goes on as before until `commit`. */
  async prepare(count: number, overlay: OverlayMaker): Promise<PreparedFork> {
    assert(this.isForkable, 'a disk has room for another overlay');
    const shared = new SharedStore(this.#front);
    const made: BlockStore[] = [];
    const abandon = async (): Promise<void> => {
      shared.isKept = true;
      await Promise.all(made.map((store) => store.close()));
    };
    try {
      for (let fork = 0; fork <= count; fork++)
        made.push(this.readOnly ? new StoreView(shared) : await overlay(new StoreView(shared)));
    } catch (error) {
      await abandon();
      throw error;
    }
    const [own, ...others] = made;
    assert(own !== undefined, 'the machine has a disk, too');
    return {
      forks: others.map((store) => new ForkableStore(store, this)),
      commit: () => {
        this.#front = own;
        this.#depth++;
      },
      abandon,
    };
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    this.#count(vectorBytes(into));
    return this.#front.read(offsetBytes, into);
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
    return heldRun(this.#front, offsetBytes, layers + this.#depth);
  }

  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    const bytes = vectorBytes(from);
    this.#count(bytes);
    return this.#changed(offsetBytes, bytes, () => this.#front.write(offsetBytes, from));
  }

  #count(bytes: number): void {
    this.counts.operations++;
    this.counts.bytes += bytes;
  }

  writeZeroes(offsetBytes: number, bytes: number, mayDiscard: boolean): Promise<void> {
    return this.#changed(offsetBytes, bytes, () => this.#front.writeZeroes(offsetBytes, bytes, mayDiscard));
  }

  discard(offsetBytes: number, bytes: number): Promise<void> {
    return this.#changed(offsetBytes, bytes, () => this.#front.discard(offsetBytes, bytes));
  }

  #changed(offsetBytes: number, bytes: number, change: () => Promise<void>): Promise<void> {
    const mirror = this.#mirror;
    const changed = this.#copy === undefined ? change() : this.#copy.before(offsetBytes, bytes).then(change);
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
    return this.#front instanceof AbsentStore;
  }

  /** Lets others have its images, with everything durable. Only while no request is under way, and none comes before `takeBack`. */
  async handOver(): Promise<void> {
    const front = this.#front;
    await front.flush();
    this.#front = new AbsentStore(this);
    await front.close();
  }

  /** It is made of these images now, which hold what the disk does. */
  takeBack(front: BlockStore): void {
    assert(this.#front instanceof AbsentStore, 'a disk is handed over before it is taken back');
    this.#front = front;
  }

  flush(): Promise<void> {
    return this.#front.flush();
  }

  close(): Promise<void> {
    return this.#front.close();
  }
}

/** As BlockStore has it, of any store. */
function heldRun(store: BlockStore, offsetBytes: number, layers: number): Promise<HeldRun> {
  return store.heldRun?.(offsetBytes, layers) ?? Promise.resolve({ held: true, endBytes: store.sizeBytes });
}

/** A store that several read, and the last one closes. */
class SharedStore {
  readonly store: BlockStore;
  /** It goes on to be somebody's own. */
  isKept = false;
  #holders = 0;

  constructor(store: BlockStore) {
    this.store = store;
  }

  hold(): void {
    this.#holders++;
  }

  async release(): Promise<void> {
    if (--this.#holders === 0 && !this.isKept) await this.store.close();
  }
}

/** One reader of a SharedStore. */
class StoreView implements BlockStore {
  readonly readOnly = true;
  readonly discardGranularityBytes = undefined;
  readonly sizeBytes: number;
  readonly #shared: SharedStore;
  #isClosed = false;

  constructor(shared: SharedStore) {
    this.#shared = shared;
    this.sizeBytes = shared.store.sizeBytes;
    shared.hold();
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#shared.store.read(offsetBytes, into);
  }

  heldRun(offsetBytes: number, layers: number): Promise<HeldRun> {
    return heldRun(this.#shared.store, offsetBytes, layers);
  }

  write(): Promise<void> {
    return this.#refuse();
  }

  writeZeroes(): Promise<void> {
    return this.#refuse();
  }

  discard(): Promise<void> {
    return this.#refuse();
  }

  /** What stands behind overlays does not change: whoever wrote it last has flushed it, or it is nobody's to keep. */
  flush(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#shared.release();
  }

  #refuse(): Promise<never> {
    return Promise.reject(new Error('a disk that several machines read is not written'));
  }
}
