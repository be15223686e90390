/**
 * What of a disk another one has not got yet, while it is written on: all that its own images hold, from the beginning to the end, and again what
 * was changed since it was taken.
 *
 *     take      the next piece: of the sweep first, then of what was changed
 *     changed   a change is over: what it was of is to be taken, also when it was before
 *     room      a change waits here when the sweep is over and more is left than the limit says: so who writes gets no further ahead of who takes
 *
 * INVARIANT: a granule is marked when its change is over: one that was read in the middle of it is read again.
 */

import type { BlockStore } from '../base/ports.ts';
import { isZero } from './zeroes.ts';

/** What is marked as changed. */
export const MIRROR_GRANULE_BYTES = 64 * 1024;
/** What is read at once. */
export const MIRROR_PIECE_BYTES = 16 * MIRROR_GRANULE_BYTES;
/** No change waits for longer: a guest whose disk does not answer takes it for a broken one. */
const LONGEST_WAIT_MS = 200;

export interface DiskMirrorOptions {
  readonly source: Pick<BlockStore, 'sizeBytes' | 'read' | 'heldRun'>;
  /** How many of the images that it is made of are taken, from the front: what stands behind them, the other one has behind it, too. */
  readonly layers: number;
  /** The other one reads as zero where nothing was written to it: zeroes are not taken before they are a change. */
  readonly isBlank: boolean;
  readonly sleep: (ms: number) => Promise<void>;
}

/** Part of a disk as it was when it was taken. */
export interface DiskPiece {
  readonly offsetBytes: number;
  readonly bytes: number;
  /** undefined where all of it is zero. */
  readonly data: Uint8Array | undefined;
}

export class DiskMirror {
  readonly #options: DiskMirrorOptions;
  readonly #count: number;
  /** Granules that were changed, a bit each. */
  readonly #changed: Uint8Array;
  #changedCount = 0;
  /** Granules before it were taken, or are of no interest. */
  #swept = 0;
  /** Where it is looked for changed ones next. */
  #cursor = 0;
  #limitBytes = Infinity;
  #waiting: (() => void)[] = [];

  /** Only while no request is under way; every later change is told to `changed`. */
  constructor(options: DiskMirrorOptions) {
    this.#options = options;
    this.#count = Math.ceil(options.source.sizeBytes / MIRROR_GRANULE_BYTES);
    this.#changed = new Uint8Array(Math.ceil(this.#count / 8));
  }

  get isSwept(): boolean {
    return this.#swept === this.#count;
  }

  /** At most so much is still to be taken. */
  get leftBytes(): number {
    return (this.#count - this.#swept + this.#changedCount) * MIRROR_GRANULE_BYTES;
  }

  /** Changes wait while more than that is left. */
  set limitBytes(bytes: number) {
    this.#limitBytes = bytes;
    this.#letGo();
  }

  /** A change of these bytes is over, however it ended. */
  changed(offsetBytes: number, bytes: number): void {
    const end = Math.ceil((offsetBytes + bytes) / MIRROR_GRANULE_BYTES);
    for (let n = Math.floor(offsetBytes / MIRROR_GRANULE_BYTES); n < end; n++) this.#mark(n, true);
  }

  /** Resolves when who has made a change may hear of it. */
  async room(): Promise<void> {
    if (this.#hasRoom) return;
    const room = new Promise<void>((resolve) => this.#waiting.push(resolve));
    await Promise.race([room, this.#options.sleep(LONGEST_WAIT_MS)]);
  }

  /** The next pieces, in a row; none where nothing was of interest. Rejects as the disk does, and is of no use then. */
  async take(): Promise<DiskPiece[]> {
    const [first, count, isFirstTime] = await this.#next();
    if (count === 0) return [];
    for (let n = first; n < first + count; n++) this.#mark(n, false);
    this.#letGo();
    const from = first * MIRROR_GRANULE_BYTES;
    const bytes = new Uint8Array(Math.min(this.#options.source.sizeBytes - from, count * MIRROR_GRANULE_BYTES));
    await this.#options.source.read(from, [bytes]);
    return [...piecesOf(from, bytes, isFirstTime && this.#options.isBlank)];
  }

  /** Granules to be read now, and whether the sweep has come to them. */
  async #next(): Promise<readonly [first: number, count: number, isFirstTime: boolean]> {
    const most = MIRROR_PIECE_BYTES / MIRROR_GRANULE_BYTES;
    if (!this.isSwept) {
      const first = this.#swept;
      let [held, end] = await this.#runAt(first);
      const isHeld = held;
      while (held && end < Math.min(this.#count, first + most)) {
        const [next, nextEnd] = await this.#runAt(end);
        if (next) end = nextEnd;
        held = next;
      }
      this.#swept = isHeld ? Math.min(end, first + most) : end;
      return [first, isHeld ? this.#swept - first : 0, true];
    }
    if (this.#changedCount === 0) return [0, 0, false];
    while (!this.#isChanged(this.#cursor)) this.#cursor = (this.#cursor + 1) % this.#count;
    const first = this.#cursor;
    let count = 1;
    while (count < most && first + count < this.#count && this.#isChanged(first + count)) count++;
    this.#cursor = (first + count) % this.#count;
    return [first, count, false];
  }

  /** Whether the images that are taken hold something of the granule, and up to which one that is so. */
  async #runAt(granule: number): Promise<readonly [held: boolean, end: number]> {
    const { source, layers } = this.#options;
    const { held, endBytes } = (await source.heldRun?.(granule * MIRROR_GRANULE_BYTES, layers)) ?? {
      held: true,
      endBytes: source.sizeBytes,
    };
    const whole = endBytes >= source.sizeBytes ? this.#count : Math.floor(endBytes / MIRROR_GRANULE_BYTES);
    if (held) return [true, Math.max(granule + 1, whole)];
    // One of which a part is held counts as held.
    return whole > granule ? [false, whole] : [true, granule + 1];
  }

  get #hasRoom(): boolean {
    return !this.isSwept || this.leftBytes <= this.#limitBytes;
  }

  #letGo(): void {
    if (this.#hasRoom) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #isChanged(granule: number): boolean {
    return ((this.#changed[granule >>> 3] ?? 0) & (1 << (granule & 7))) !== 0;
  }

  #mark(granule: number, isChanged: boolean): void {
    if (this.#isChanged(granule) === isChanged) return;
    this.#changed[granule >>> 3] = (this.#changed[granule >>> 3] ?? 0) ^ (1 << (granule & 7));
    this.#changedCount += isChanged ? 1 : -1;
  }
}

/** Granules with something in them, and ones without, which may be left out. */
function* piecesOf(from: number, bytes: Uint8Array, leavesOutZeroes: boolean): Generator<DiskPiece> {
  for (let at = 0; at < bytes.length;) {
    const isEmpty = isZero(granuleAt(bytes, at));
    let end = at;
    do end = Math.min(bytes.length, end + MIRROR_GRANULE_BYTES);
    while (end < bytes.length && isZero(granuleAt(bytes, end)) === isEmpty);
    if (!isEmpty) yield { offsetBytes: from + at, bytes: end - at, data: bytes.subarray(at, end) };
    else if (!leavesOutZeroes) yield { offsetBytes: from + at, bytes: end - at, data: undefined };
    at = end;
  }
}

function granuleAt(bytes: Uint8Array, at: number): Uint8Array {
  return bytes.subarray(at, Math.min(bytes.length, at + MIRROR_GRANULE_BYTES));
}
