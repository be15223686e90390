/**
 * Whose turn it is when several harts share a thread: of those that can run, the one that had the least time. A hart that waits for another
 * one in a loop and says so (`pause`, `wrs.nto`) lets all others have a slice first: so whoever holds a lock gets on, and those who wait
 * for it cost little. Where several threads execute harts, which move between them, all of them keep the same books.
 */

import { MAX_HARTS } from '../engine/layout.ts';

/** What a hart that slept may be ahead of the others: it comes soon, and does not keep them out for as long as it slept. */
const MOST_AHEAD_SLICES = 1;
/** What a hart of another thread must have had less than those of this one to be taken over, where nobody waits for anybody: in slices. */
const WORTH_MOVING_SLICES = 30;

/** What is known of harts, by number. Only differences of times count. */
export interface TurnBooks {
  /** Time that each had, in ns. */
  readonly usedNs: Float64Array;
  /** Not 0: it could run when the thread that has it looked last. */
  readonly wasReady: Int32Array;
  /** What the one had that came last, if no other one came later that had more. */
  readonly latestNs: Float64Array;
}

export function newTurnBooks(): TurnBooks {
  return {
    usedNs: new Float64Array(MAX_HARTS),
    wasReady: new Int32Array(MAX_HARTS),
    latestNs: new Float64Array(1),
  };
}

export class Turns {
  readonly #sliceNs: number;
  readonly #books: TurnBooks;
  /** Whether the hart that came last had nothing to do but wait for another one. */
  #gaveAway = false;

  /** For harts whose slices take about `sliceNs`. */
  constructor(sliceNs: number, books: TurnBooks = newTurnBooks()) {
    this.#sliceNs = sliceNs;
    this.#books = books;
  }

  /** The hart of `own` to run next, or -1 when none is ready. */
  next(own: readonly number[], isReady: (hart: number) => boolean): number {
    const { wasReady } = this.#books;
    let least = Infinity;
    for (const hart of own) if (wasReady[hart] !== 0 && isReady(hart)) least = Math.min(least, this.#used(hart));
    if (least !== Infinity) this.#came(least);
    let chosen = -1;
    for (const hart of own)
      if (this.#look(hart, isReady) && (chosen < 0 || this.#used(hart) < this.#used(chosen))) chosen = hart;
    if (chosen >= 0) this.#came(this.#used(chosen));
    return chosen;
  }

  /** Which of `offered`, harts of other threads, is rather to come than `chosen` (-1: none is ready here); -1 when none is. */
  better(chosen: number, offered: readonly number[]): number {
    const worth = this.#gaveAway ? 0 : WORTH_MOVING_SLICES * this.#sliceNs;
    let best = -1;
    let least = chosen < 0 ? Infinity : this.#used(chosen) - worth;
    for (const hart of offered) {
      const used = this.#booked(hart);
      if (used >= least) continue;
      best = hart;
      least = used;
    }
    return best;
  }

  /** `hart` ran for `ns`; `gaveAway` says that it had nothing to do but wait for others, of which `others` can run on this thread. */
  charge(hart: number, ns: number, gaveAway: boolean, others: readonly number[]): void {
    const { usedNs, wasReady } = this.#books;
    // When the host gave its processor to somebody else meanwhile, that was not the hart's time.
    let used = this.#used(hart) + Math.max(1, Math.min(ns, this.#sliceNs));
    if (gaveAway)
      for (const other of others) if (other !== hart && wasReady[other] !== 0) used = Math.max(used, this.#used(other));
    usedNs[hart] = used;
    this.#gaveAway = gaveAway;
  }

  /** Whether `hart` is ready; one that was not has no more to catch up than a slice. */
  #look(hart: number, isReady: (hart: number) => boolean): boolean {
    const { usedNs, wasReady } = this.#books;
    const ready = isReady(hart);
    if (ready) usedNs[hart] = this.#booked(hart);
    wasReady[hart] = ready ? 1 : 0;
    return ready;
  }

  #came(usedNs: number): void {
    const { latestNs } = this.#books;
    if (usedNs > (latestNs[0] ?? 0)) latestNs[0] = usedNs;
  }

  /** What a hart that is ready counts as having had. */
  #booked(hart: number): number {
    const { wasReady, latestNs } = this.#books;
    if (wasReady[hart] !== 0) return this.#used(hart);
    return Math.max(this.#used(hart), (latestNs[0] ?? 0) - MOST_AHEAD_SLICES * this.#sliceNs);
  }

  #used(hart: number): number {
    return this.#books.usedNs[hart] ?? 0;
  }
}
