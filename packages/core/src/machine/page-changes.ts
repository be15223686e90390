/**
 * Which pages a guest writes, for who sends its memory elsewhere while it runs. A page that was reported is protected; the first write to it takes
 * the protection away, and that is how the next question finds it: nothing is noted when it is written.
 *
 *     written -- asked about: reported, KEPT -- written: no more KEPT -- asked about: reported, KEPT -- ...
 */

import type { Guest } from '../engine/guest.ts';

export class PageChanges {
  readonly #guest: Guest;
  readonly #clearTlbs: () => void;
  readonly #ended: () => void;
  /** Pages that were reported with bytes in them, one byte each. */
  readonly #known: Uint8Array;
  #isFirst = true;

  constructor(guest: Guest, clearTlbs: () => void, ended: () => void) {
    this.#guest = guest;
    this.#clearTlbs = clearTlbs;
    this.#ended = ended;
    this.#known = new Uint8Array(guest.pages);
  }

  /**
   * Numbers of the pages whose bytes may be others than at the last call; at the first call, of all that may hold something. A page that was given
   * back since is among them, and reads as zero. Only while the machine is quiet.
   */
  take(): number[] {
    const { states, pages } = this.#guest;
    const changed = states.protectWritten();
    for (const index of changed) this.#known[index] = 1;
    // Pages that were reported and are there no more, and at first those that only their source has.
    for (let index = 0; index < pages; index++) {
      if (this.#known[index] === 0 && !this.#isFirst) continue;
      const state = states.of(index);
      if (this.#known[index] === 1 && state === 'none') {
        this.#known[index] = 0;
        changed.push(index);
      } else if (this.#known[index] === 0 && state === 'elsewhere') {
        this.#known[index] = 1;
        changed.push(index);
      }
    }
    this.#isFirst = false;
    this.#clearTlbs();
    return changed;
  }

  /** Nobody asks any more: pages may be written as before. */
  end(): void {
    const { states, pages } = this.#guest;
    for (let index = 0; index < pages; index++) if (states.of(index) === 'kept') states.release(index);
    this.#ended();
  }
}
