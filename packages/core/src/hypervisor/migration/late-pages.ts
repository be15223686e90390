/**
 * Pages that follow a machine that runs elsewhere already, in their order, from the one that was asked for last on: who reads or writes memory in a row finds
 * the next ones there.
 */

/** Of pages that are sent in one message: one that is asked for brings so many along. */
export const LATE_BATCH_PAGES = 32;

export class LatePages {
  readonly #isLeft: Uint8Array;
  #cursor = 0;
  #size: number;

  /** `count` is that of the machine's pages. */
  constructor(pages: readonly number[], count: number) {
    this.#isLeft = new Uint8Array(count);
    for (const index of pages) this.#isLeft[index] = 1;
    this.#size = pages.length;
  }

  get size(): number {
    return this.#size;
  }

  has(index: number): boolean {
    return this.#isLeft[index] === 1;
  }

  /** The next ones to be sent, which are left no more. */
  take(): number[] {
    const pages: number[] = [];
    const all = this.#isLeft.length;
    for (let looked = 0; looked < all && this.#size > 0 && pages.length < LATE_BATCH_PAGES; looked++) {
      if (this.#take(this.#cursor)) pages.push(this.#cursor);
      this.#cursor = (this.#cursor + 1) % all;
    }
    return pages;
  }

  /** The one that is asked for, if it is left, with those behind it; others follow from there on. */
  takeFrom(index: number): number[] {
    if (!this.has(index)) return [];
    this.#cursor = index;
    const end = Math.min(index + LATE_BATCH_PAGES, this.#isLeft.length);
    const pages: number[] = [];
    for (; this.#cursor < end; this.#cursor++) if (this.#take(this.#cursor)) pages.push(this.#cursor);
    this.#cursor %= this.#isLeft.length;
    return pages;
  }

  #take(index: number): boolean {
    if (this.#isLeft[index] !== 1) return false;
    this.#isLeft[index] = 0;
    this.#size--;
    return true;
  }
}
