/**
 * Which pages a guest writes, for who sends its memory elsewhere while it runs. A page that was reported is protected; the first write to it takes
 * the protection away, and that is how the next question finds it: nothing is noted when it is written.
 *
 *     written -- asked about: reported, KEPT -- written: no more KEPT -- asked about: reported, KEPT -- ...
 */

import type { Guest } from '../engine/guest.ts';
import { KnownPages } from '../engine/page-states.ts';

export class PageChanges {
  readonly #guest: Guest;
  readonly #clearTlbs: () => void;
  readonly #ended: () => void;
  /** Pages that were reported with bytes in them. */
  readonly #known: KnownPages;
  #isFirst = true;

  constructor(guest: Guest, clearTlbs: () => void, ended: () => void) {
    this.#guest = guest;
    this.#clearTlbs = clearTlbs;
    this.#ended = ended;
    this.#known = new KnownPages(guest.pages);
  }

  /**
   * Numbers of the pages whose bytes may be others than at the last call; at the first call, of all that may hold something. A page that was given
   * back since is among them, and reads as zero. Only while the machine is quiet.
   */
  take(): number[] {
    const changed = this.#guest.states.protectChanged(this.#known, this.#isFirst);
    this.#isFirst = false;
    this.#clearTlbs();
    return changed;
  }

  /**
   * The next pages of what `take` gave, from the place `at` on, and `most` of them, without those that were written again since, which it gives
   * the next time; and the place behind them.
   */
  unwritten(pages: readonly number[], at: number, most: number): readonly [pages: number[], next: number] {
    const found: number[] = [];
    let next = at;
    for (; next < pages.length && found.length < most; next++) {
      const index = pages[next] ?? 0;
      if (!this.#guest.states.isWritten(index)) found.push(index);
    }
    return [found, next];
  }

  /** About how many of these pages were written again since: one of `every` is looked at. */
  writtenOf(pages: readonly number[], every: number): number {
    let count = 0;
    for (let at = 0; at < pages.length; at += every) if (this.#guest.states.isWritten(pages[at] ?? 0)) count += every;
    return count;
  }

  /** Nobody asks any more: pages may be written as before. */
  end(): void {
    const { states, pages } = this.#guest;
    for (let index = 0; index < pages; index++) if (states.of(index) === 'kept') states.release(index);
    this.#ended();
  }
}
