/**
 * Whose turn it is when several harts share a thread: of those that can run, the one that had the least time. A hart that waits for another
 * one in a loop and says so (`pause`, `wrs.nto`) lets all others have a slice first: so whoever holds a lock gets on, and those who wait
 * for it cost little.
 */

/** What a hart that slept may be ahead of the others: it comes soon, and does not keep them out for as long as it slept. */
const MOST_AHEAD_SLICES = 1;

export class Turns {
  readonly #sliceNs: number;
  /** Time that each hart had, in ns. Only differences count. */
  readonly #usedNs: number[];
  /** Whether it could run when somebody looked last. */
  readonly #wasReady: boolean[];

  /** For `count` harts, whose slices take about `sliceNs`. */
  constructor(count: number, sliceNs: number) {
    this.#sliceNs = sliceNs;
    this.#usedNs = Array.from({ length: count }, () => 0);
    this.#wasReady = Array.from({ length: count }, () => false);
  }

  /** The hart to run next, or -1 when none is ready. */
  next(isReady: (hart: number) => boolean): number {
    if (this.#usedNs.length === 1) return isReady(0) ? 0 : -1;
    let least = Infinity;
    const fresh: number[] = [];
    for (const hart of this.#usedNs.keys()) {
      const ready = isReady(hart);
      if (ready && this.#wasReady[hart] === true) least = Math.min(least, this.#used(hart));
      else if (ready) fresh.push(hart);
      this.#wasReady[hart] = ready;
    }
    if (least !== Infinity) {
      const floor = least - MOST_AHEAD_SLICES * this.#sliceNs;
      for (const hart of fresh) this.#usedNs[hart] = Math.max(this.#used(hart), floor);
    }
    let chosen = -1;
    for (const hart of this.#usedNs.keys())
      if (this.#wasReady[hart] === true && (chosen < 0 || this.#used(hart) < this.#used(chosen))) chosen = hart;
    return chosen;
  }

  /** `hart` ran for `ns`; `gaveAway` says that it had nothing to do but wait for others. */
  charge(hart: number, ns: number, gaveAway: boolean): void {
    // When the host gave its processor to somebody else meanwhile, that was not the hart's time.
    let used = this.#used(hart) + Math.max(1, Math.min(ns, this.#sliceNs));
    if (gaveAway)
      for (const other of this.#usedNs.keys())
        if (other !== hart && this.#wasReady[other] === true) used = Math.max(used, this.#used(other));
    this.#usedNs[hart] = used;
  }

  #used(hart: number): number {
    return this.#usedNs[hart] ?? 0;
  }
}
