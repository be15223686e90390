/**
 * Pages whose bytes are not what the page map alone says: those that come from a snapshot when they are touched, and those that go into one
 * and must not be written before they are kept. Both are flags of a page map entry which generated code takes for "no frame yet" and "not
 * writable yet", so that it comes here, and costs nothing otherwise.
 *
 *     ELSEWHERE  --touched: a frame, filled by the page source-->  PRESENT | WRITABLE
 *     PRESENT | WRITABLE  --protect-->  PRESENT | KEPT  --written: `keep` is told first; or released-->  PRESENT | WRITABLE
 *
 * INVARIANT: no write TLB has a page that is KEPT; who protects pages clears the TLBs of all harts, which do not execute meanwhile.
 */

import { PAGE_SIZE } from '../base/numbers.ts';
import type { Domain } from './domain.ts';
import { PAGE } from './layout.ts';

/** Where the bytes of pages are that have no frame yet. */
export interface PageSource {
  /** Fills `into`, a page long, with what page `index` of the page map holds. Throws when it cannot: the guest does not go on then. */
  load(index: number, into: Uint8Array): void;
  /** Plain data that another thread makes the same source of, where several execute the guest. */
  readonly shared?: unknown;
}

export class PageStates {
  /** Of this thread. */
  source: PageSource | undefined;
  /** A page that is KEPT will be written: keeps what it holds. On a thread that executes harts it asks who protected the pages. */
  keep: ((index: number) => void) | undefined;
  readonly #domain: Domain;

  constructor(domain: Domain) {
    this.#domain = domain;
  }

  /** The entry of page `index`, which has one of the flags, once it has a frame of its own that may be written. */
  ready(index: number): number {
    const { u32, layout } = this.#domain;
    const slot = (layout.pageMap >>> 2) + index;
    if (Atomics.load(u32, slot) & PAGE.ELSEWHERE) return this.#change(() => this.#fill(slot, index));
    this.keep?.(index);
    return this.release(index);
  }

  /** Pages [first, first + count) are elsewhere. They have no frames yet. */
  setElsewhere(first: number, count: number): void {
    const start = (this.#domain.layout.pageMap >>> 2) + first;
    this.#domain.u32.fill(PAGE.ELSEWHERE, start, start + count);
  }

  /** Gives `count` pages that have no frames yet, by the indices that `page` gives, frames side by side; gives the address of the first. */
  placeTogether(count: number, page: (number: number) => number): number {
    return this.#change(() => {
      const { u32, layout } = this.#domain;
      const first = this.#domain.takeFrames(count);
      for (let n = 0; n < count; n++)
        u32[(layout.pageMap >>> 2) + page(n)] = (first + n * PAGE_SIZE) | PAGE.PRESENT | PAGE.WRITABLE;
      return first;
    });
  }

  /** Every page that has a frame of its own is KEPT from now on; gives how many. The TLBs of all harts are to be cleared afterwards. */
  protect(): number {
    return this.#change(() => {
      const { u32, layout, pageCount } = this.#domain;
      const start = layout.pageMap >>> 2;
      let count = 0;
      for (let slot = start; slot < start + pageCount; slot++) {
        const entry = u32[slot] ?? 0;
        if ((entry & PAGE.WRITABLE) === 0) continue;
        u32[slot] = (entry & ~PAGE.WRITABLE) | PAGE.KEPT;
        count++;
      }
      return count;
    });
  }

  /** Page `index` may be written again; gives its entry. */
  release(index: number): number {
    const { u32, layout } = this.#domain;
    const slot = (layout.pageMap >>> 2) + index;
    return this.#change(() => {
      const entry = Atomics.load(u32, slot);
      if ((entry & PAGE.KEPT) === 0) return entry;
      const released = ((entry & ~PAGE.KEPT) | PAGE.WRITABLE) >>> 0;
      Atomics.store(u32, slot, released);
      return released;
    });
  }

  /** How page `index` is there. */
  of(index: number): 'none' | 'elsewhere' | 'kept' | 'own' {
    const entry = Atomics.load(this.#domain.u32, (this.#domain.layout.pageMap >>> 2) + index);
    if (entry & PAGE.ELSEWHERE) return 'elsewhere';
    if (entry & PAGE.KEPT) return 'kept';
    // What is present and nothing else shows the frame of zeroes.
    return entry & PAGE.WRITABLE ? 'own' : 'none';
  }

  #fill(slot: number, index: number): number {
    const { u32, u8 } = this.#domain;
    const entry = Atomics.load(u32, slot);
    // Another thread may have been here first.
    if ((entry & PAGE.ELSEWHERE) === 0) return entry;
    if (this.source === undefined) throw new Error(`Page ${index} of the guest is elsewhere, and nobody knows where`);
    const frame = this.#domain.takeFrames(1);
    try {
      this.source.load(index, u8.subarray(frame, frame + PAGE_SIZE));
    } catch (error) {
      this.#domain.returnFrame(frame);
      throw error;
    }
    const made = (frame | PAGE.PRESENT | PAGE.WRITABLE | (entry & PAGE.WATCHED)) >>> 0;
    Atomics.store(u32, slot, made);
    return made;
  }

  #change<T>(work: () => T): T {
    return this.#domain.words ? this.#domain.locked(work) : work();
  }
}
