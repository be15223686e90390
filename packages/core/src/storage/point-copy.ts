/**
 * Copies a disk as it is at one moment, while it is written on:
 *
 *     sweep    granule after granule from the beginning to the end
 *     before   a granule that is about to be changed and was not copied yet comes first, and its change waits for that
 *
 * So the disk that is in use stays the only one there is of it: whatever ends the copy, a full disk or a killed process, the machine has lost
 * nothing and has nothing to put together again. Only what the disk's own images hold is copied, and where the target stands on an earlier copy
 * only what differs from that.
 *
 * INVARIANT: a granule is copied, or found to be of no interest, before the first change of it since the moment.
 */

import type { BlockStore } from '../base/ports.ts';
import { isZero } from './zeroes.ts';

/** What is copied at once when a guest waits for it. */
export const GRANULE_BYTES = 64 * 1024;
/** Granules of the sweep that are copied together. */
const GRANULES_AT_ONCE = 16;

export interface PointCopyOptions {
  readonly source: BlockStore;
  /** How many of the images that the source is made of are copied, from the front: what stands behind them, the target has behind it too. */
  readonly sourceLayers: number;
  /** Shows what stands behind, and takes the rest. */
  readonly target: BlockStore;
  /** How many images stand between the target's own and what it has in common with the source: those of earlier copies. */
  readonly targetLayers: number;
}

/** One, or some in a row. */
interface Granule {
  copied: Promise<void>;
  isOver: boolean;
  /** Up to where nothing more is of interest, when it is over. */
  endBytes: number;
}

export class PointCopy {
  readonly #options: PointCopyOptions;
  readonly #count: number;
  /** What is being copied, and what was copied out of turn. */
  readonly #granules = new Map<number, Granule>();
  /** All before it are over, but for those that are being copied. */
  #swept = 0;
  #failure: { readonly reason: unknown } | undefined;
  #copiedBytes = 0;

  /** From here on it is the disk's content that counts: no request is under way, and every later change is announced by `before`. */
  constructor(options: PointCopyOptions) {
    this.#options = options;
    this.#count = Math.ceil(options.source.sizeBytes / GRANULE_BYTES);
  }

  /** Bytes that were written to the target. */
  get copiedBytes(): number {
    return this.#copiedBytes;
  }

  /** Resolves when these bytes may be changed. Never rejects: a copy that fails is no concern of the guest's. */
  async before(offsetBytes: number, bytes: number): Promise<void> {
    if (bytes === 0) return;
    const end = Math.ceil((offsetBytes + bytes) / GRANULE_BYTES);
    const waits: Promise<void>[] = [];
    for (let n = Math.floor(offsetBytes / GRANULE_BYTES); n < end; n++) {
      const known = this.#granules.get(n);
      if (known?.isOver === false) waits.push(known.copied);
      else if (known === undefined && n >= this.#swept && this.#failure === undefined)
        waits.push(this.#begin(n, 1).copied);
    }
    await Promise.all(waits);
  }

  /** Copies all that is left; `turn` lets others have the thread. Rejects with what kept it from being copied. */
  async run(turn: () => Promise<void>): Promise<void> {
    while (this.#swept < this.#count && this.#failure === undefined) {
      const first = this.#swept;
      const known = this.#granules.get(first);
      if (known !== undefined) {
        await known.copied;
        this.#advance(first + 1);
        continue;
      }
      let count = 1;
      while (count < GRANULES_AT_ONCE && first + count < this.#count && !this.#granules.has(first + count)) count++;
      const piece = this.#begin(first, count);
      await piece.copied;
      this.#advance(Math.max(first + count, Math.floor(piece.endBytes / GRANULE_BYTES)));
      await turn();
    }
    await Promise.all([...this.#granules.values()].map(({ copied }) => copied));
    if (this.#failure !== undefined) throw this.#failure.reason;
  }

  /** Nothing is copied any more. Resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#failure ??= { reason: new Error('the copy was given up') };
    await Promise.all([...this.#granules.values()].map(({ copied }) => copied));
  }

  #begin(first: number, count: number): Granule {
    const granule: Granule = { copied: Promise.resolve(), isOver: false, endBytes: 0 };
    for (let n = first; n < first + count; n++) this.#granules.set(n, granule);
    granule.copied = this.#copyGranule(granule, first, count);
    return granule;
  }

  async #copyGranule(granule: Granule, first: number, count: number): Promise<void> {
    try {
      granule.endBytes = await this.#copy(first * GRANULE_BYTES, (first + count) * GRANULE_BYTES);
    } catch (error) {
      this.#failure ??= { reason: error };
    }
    granule.isOver = true;
  }

  #advance(to: number): void {
    const from = this.#swept;
    this.#swept = Math.min(to, this.#count);
    // What is over and behind the sweep need not be remembered.
    if (this.#granules.size < this.#swept - from) {
      for (const [n, { isOver }] of this.#granules) if (isOver && n < this.#swept) this.#granules.delete(n);
    } else
      for (let n = from; n < this.#swept; n++) if (this.#granules.get(n)?.isOver === true) this.#granules.delete(n);
  }

  /** Gives up to where nothing is of interest, at least `to`. */
  async #copy(from: number, to: number): Promise<number> {
    const end = Math.min(to, this.#options.source.sizeBytes);
    let at = from;
    while (at < end && this.#failure === undefined) {
      const run = await this.#runAt(at);
      if (run.held) await this.#copyBytes(at, Math.min(end, run.endBytes));
      at = run.held ? Math.min(end, run.endBytes) : run.endBytes;
    }
    return at;
  }

  /** Whether the source, or an earlier copy that the target stands on, has something of its own there. */
  async #runAt(offsetBytes: number): Promise<{ readonly held: boolean; readonly endBytes: number }> {
    const { source, sourceLayers, target, targetLayers } = this.#options;
    const whole = { held: true, endBytes: source.sizeBytes };
    const own = (await source.heldRun?.(offsetBytes, sourceLayers)) ?? whole;
    if (own.held || targetLayers === 0) return own;
    const earlier = (await target.heldRun?.(offsetBytes, 1 + targetLayers)) ?? whole;
    return { held: earlier.held, endBytes: Math.min(own.endBytes, earlier.endBytes) };
  }

  async #copyBytes(from: number, to: number): Promise<void> {
    const { source, target, targetLayers } = this.#options;
    const bytes = new Uint8Array(to - from);
    await source.read(from, [bytes]);
    let earlier: Uint8Array | undefined;
    if (targetLayers > 0) {
      earlier = new Uint8Array(bytes.length);
      await target.read(from, [earlier]);
    }
    for (let at = 0; at < bytes.length;) {
      const size = Math.min(bytes.length - at, GRANULE_BYTES - ((from + at) % GRANULE_BYTES));
      const piece = bytes.subarray(at, at + size);
      if (earlier === undefined || !isSame(piece, earlier.subarray(at, at + size))) {
        if (isZero(piece)) await target.writeZeroes(from + at, size, true);
        else await target.write(from + at, [piece]);
        this.#copiedBytes += size;
      }
      at += size;
    }
  }
}

/** Disks are made of sectors, so that there are only whole words. */
function words(bytes: Uint8Array): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  const other = words(b);
  return words(a).every((word, n) => word === other[n]);
}
