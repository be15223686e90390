/**
 * Pages whose bytes are not what the page map alone says: those that come from a snapshot when they are touched, and those that go into one
 * and must not be written before they are kept. Both are flags of a page map entry which generated code takes for "no frame yet" and "not
 * writable yet", so that it comes here, and costs nothing otherwise.
 *
 *     ELSEWHERE  --touched: a frame, filled by the page source-->  PRESENT | WRITABLE
 *     PRESENT | WRITABLE  --protect-->  PRESENT | KEPT  --written: `keep` is told first; or released-->  PRESENT | WRITABLE
 *
 * A frame that the guest shares with others is protected too; released, it is shared as before.
 *
 * INVARIANT: no write TLB has a page that is KEPT; who protects pages clears the TLBs of all harts, which do not execute meanwhile.
 */

import { defined } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import type { PageSource } from '../base/page-source.ts';
import { frameOf, hasFrame } from './frames.ts';
import type { Guest } from './guest.ts';
import { PAGE } from './layout.ts';
import { touch } from './page-reclaim.ts';

/** Pages that were reported with something in them. */
export class KnownPages {
  /** 1 for each that is. */
  readonly isKnown: Uint8Array;
  count = 0;

  constructor(pages: number) {
    this.isKnown = new Uint8Array(pages);
  }

  set(index: number, to: 0 | 1): void {
    this.count += to - (this.isKnown[index] ?? 0);
    this.isKnown[index] = to;
  }
}

export class PageStates {
  /** Of this thread. */
  source: PageSource | undefined;
  /** A page that is KEPT will be written: keeps what it holds. On a thread that executes harts it asks who protected the pages. */
  keep: ((index: number) => void) | undefined;
  /** How many pages that were KEPT have been written, of this thread's guest, since it was made. */
  written = 0;
  readonly #guest: Guest;

  constructor(guest: Guest) {
    this.#guest = guest;
  }

  /** The entry of page `index`, which has one of the flags, once it has none: with a frame of its own, or one that it shares. */
  ready(index: number): number {
    const { u32 } = this.#guest.domain;
    const slot = this.#slot(index);
    const entry = Atomics.load(u32, slot);
    if (entry & PAGE.ELSEWHERE) return this.#change(() => this.#fill(slot, index));
    if (entry & (PAGE.DORMANT | PAGE.AWAY)) return touch(this.#guest.domain, slot);
    this.keep?.(index);
    this.written++;
    return this.release(index);
  }

  /** Pages [first, first + count) are elsewhere. They have no frames yet. */
  setElsewhere(first: number, count: number): void {
    this.#guest.domain.u32.fill(PAGE.ELSEWHERE, this.#slot(first), this.#slot(first + count));
  }

  /**
   * Pages of a list are elsewhere, whatever they held, and their frames are free: where nobody but the page has one, and no code of it is known. Gives those
   * of which that is not so, as they were. Only of a guest that does not run.
   */
  loseAll(pages: readonly number[]): number[] {
    const { domain } = this.#guest;
    // Other threads may look at them.
    if (domain.words) return [...pages];
    const { u32, frames } = domain;
    const others: number[] = [];
    for (const index of pages) {
      const slot = this.#slot(index);
      const entry = u32[slot] ?? 0;
      if (entry !== 0) {
        const frame = frameOf(entry);
        const isPlain = (entry & PAGE.PRESENT) !== 0 && (entry & (PAGE.KEPT | PAGE.MOVING | PAGE.AWAY | PAGE.ELSEWHERE)) === 0; // prettier-ignore
        if (!isPlain || frames.owner(frame >>> PAGE_SHIFT) !== slot || domain.isWatching(frame >>> PAGE_SHIFT)) {
          others.push(index);
          continue;
        }
        frames.release(frame);
      }
      u32[slot] = PAGE.ELSEWHERE;
    }
    domain.purgeGone([]);
    return others;
  }

  /** Gives `count` pages that have no frames yet, by the indices that `page` gives, frames side by side; gives the address of the first, undefined where there is no such run. */
  placeTogether(count: number, page: (number: number) => number): number | undefined {
    return this.#change(() => {
      const { u32, frames } = this.#guest.domain;
      const first = frames.takeTogether(count, (n) => this.#slot(page(n)));
      if (first === undefined) return undefined;
      for (let n = 0; n < count; n++) u32[this.#slot(page(n))] = (first + n * PAGE_SIZE) | PAGE.PRESENT | PAGE.WRITABLE;
      return first;
    });
  }

  /**
   * Every page that has a frame is KEPT from now on; gives how many. Of each page `how` gets 1 for that, 2 where it is elsewhere, and nothing else. The TLBs of all
   * harts are to be cleared afterwards.
   */
  protect(how: Uint8Array = new Uint8Array(this.#guest.pages)): number {
    return this.#change(() => {
      const { u32, frames } = this.#guest.domain;
      const start = this.#slot(0);
      let count = 0;
      for (let index = 0; index < this.#guest.pages; index++) {
        const entry = u32[start + index] ?? 0;
        if (entry === 0) continue;
        if (entry & PAGE.ELSEWHERE) how[index] = 2;
        const next = protectedEntry(entry, frames.zero);
        if (next === undefined) continue;
        how[index] = 1;
        u32[start + index] = next;
        count++;
      }
      return count;
    });
  }

  /**
   * Pages that have a frame and are not KEPT, which they all are from now on: those that were written since the last call, or all at the first; of those
   * that are `known` also the ones that are there no more; and at first those that only their source has. The TLBs of all harts are to be cleared afterwards.
   */
  protectChanged(known: KnownPages, isFirst: boolean): number[] {
    return this.#change(() => {
      const { u32, frames, blocks } = this.#guest.domain;
      const [start, zero, count] = [this.#slot(0), frames.zero, known.isKnown.length];
      const work = defined(blocks, 'an engine');
      const end = 4 * (start + count);
      const changed: number[] = [];
      const look = (index: number): void => {
        const entry = u32[start + index] ?? 0;
        const isKnown = known.isKnown[index] === 1;
        const next = entry & PAGE.KEPT ? undefined : protectedEntry(entry, zero);
        if (next !== undefined) {
          u32[start + index] = next;
          known.set(index, 1);
        } else if (isKnown ? isNone(entry, zero) : isFirst && (entry & PAGE.ELSEWHERE) !== 0)
          known.set(index, isKnown ? 0 : 1);
        else return;
        changed.push(index);
      };
      // The machine stands still meanwhile: pages that are not there, or were not written, are passed over in generated code.
      let left = known.count - work.keptIn(4 * start, end);
      // Generated code gives addresses with a sign.
      const nextFrom = (at: number): number => work.nextWritten(at, end, zero) >>> 0;
      for (let at = nextFrom(4 * start); at < end; at = nextFrom(at + 4)) {
        const index = (at >>> 2) - start;
        if (known.isKnown[index] === 1) left--;
        look(index);
      }
      // What is known and is neither KEPT nor written was given back.
      if (left === 0) return changed;
      for (let index = 0; index < count; index++)
        if (known.isKnown[index] === 1 && isNone(u32[start + index] ?? 0, zero)) look(index);
      return changed.toSorted((one, other) => one - other);
    });
  }

  /** Whether `protectChanged` would report the page because it has been written since. */
  isWritten(index: number): boolean {
    const { u32, frames } = this.#guest.domain;
    const entry = u32[this.#slot(index)] ?? 0;
    return (entry & (PAGE.KEPT | PAGE.AWAY | PAGE.ELSEWHERE)) === 0 && !isNone(entry, frames.zero);
  }

  /** Page `index` may be written again, by whoever has it alone; gives its entry. */
  release(index: number): number {
    return this.#change(() => this.#released(this.#slot(index)));
  }

  /** The same of the first `count` of a list, all at one go. */
  releaseAll(pages: Uint32Array, count: number): void {
    this.#change(() => {
      for (let n = 0; n < count; n++) this.#released(this.#slot(pages[n] ?? 0));
    });
  }

  #released(slot: number): number {
    const { u32, frames } = this.#guest.domain;
    const entry = Atomics.load(u32, slot);
    if ((entry & PAGE.KEPT) === 0) return entry;
    const isOwn = hasFrame(entry) && frames.owner(entry >>> PAGE_SHIFT) === slot;
    const released = ((entry & ~PAGE.KEPT) | (isOwn ? PAGE.WRITABLE : 0)) >>> 0;
    Atomics.store(u32, slot, released);
    return released;
  }

  /** How page `index` is there. */
  of(index: number): 'none' | 'elsewhere' | 'kept' | 'there' {
    const { u32, frames } = this.#guest.domain;
    const entry = Atomics.load(u32, this.#slot(index));
    if (entry & PAGE.ELSEWHERE) return 'elsewhere';
    if (entry & PAGE.KEPT) return 'kept';
    return isNone(entry, frames.zero) ? 'none' : 'there';
  }

  #fill(slot: number, index: number): number {
    const { u32, u8, frames } = this.#guest.domain;
    const entry = Atomics.load(u32, slot);
    // Another thread may have been here first.
    if ((entry & PAGE.ELSEWHERE) === 0) return entry;
    if (this.source === undefined) throw new Error(`Page ${index} of the guest is elsewhere, and nobody knows where`);
    const frame = frames.take(slot);
    try {
      this.source.load(index, u8.subarray(frame, frame + PAGE_SIZE));
      this.source.touched?.(index);
    } catch (error) {
      frames.release(frame);
      throw error;
    }
    const made = (frame | PAGE.PRESENT | PAGE.WRITABLE) >>> 0;
    Atomics.store(u32, slot, made);
    return made;
  }

  /** Position of the page's entry in words. */
  #slot(index: number): number {
    return (this.#guest.pageMap >>> 2) + index;
  }

  #change<T>(work: () => T): T {
    return this.#guest.domain.locked(work);
  }
}

/** Whether the page reads as zero, and takes no room anywhere. */
function isNone(entry: number, zero: number): boolean {
  if (entry & (PAGE.ELSEWHERE | PAGE.KEPT | PAGE.AWAY)) return false;
  return !hasFrame(entry) || frameOf(entry) === zero;
}

/** What the entry of a page is to be that must not be written before it is kept; undefined when there is nothing to keep. */
function protectedEntry(entry: number, zero: number): number | undefined {
  if (entry & PAGE.AWAY) return entry | PAGE.KEPT;
  if (!hasFrame(entry) || frameOf(entry) === zero) return undefined;
  return ((entry & ~(PAGE.WRITABLE | PAGE.DORMANT)) | PAGE.PRESENT | PAGE.KEPT) >>> 0;
}
