/**
 * A guest of a memory domain, as far as memory goes: its regions and its page map. Several guests may have the same frames: then none of them
 * may write to these, and who does gets a copy of his own (copy-on-write).
 *
 *     read a page  ── never written ──> the zero frame
 *     write a page ── never written ──> a frame of zeros
 *                  ── shared, others have it still ──> a copy; the page is taken from the TLBs, and from what is known of its code
 *                  ── shared, nobody else left ──────> its own
 *
 * Where several threads execute the guest's harts, a page moves to another frame in steps, so that no thread reads the old one when another has
 * written the new one: the entry shows the copy, not to be written yet; every thread has passed, so none enters the old frame any more; it is
 * purged; every thread has passed, so none knows it; the entry may be written.
 */

import { assert, defined } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import type { Domain } from './domain.ts';
import { frameOf, hasFrame } from './frames.ts';
import { PAGE } from './layout.ts';
import { PageStates } from './page-states.ts';

/** A range of guest-physical space with frames behind it. */
export interface Region {
  readonly base: number;
  readonly sizeBytes: number;
  /** False for ROM: stores by harts and devices are refused. */
  readonly writable: boolean;
}

export class Guest {
  readonly domain: Domain;
  readonly regions: readonly Region[];
  /** Where its page map is, and how many pages it has. */
  readonly pageMap: number;
  readonly pages: number;
  /** Where it is kept what to add to the ticks of the machine's clock to get mtime. */
  readonly tickOffset: number;
  /** Whether its harts are where harts are executed, and TLBs may know its pages. Set by the engine. */
  isResident = false;
  /** Pages that come from a snapshot, and pages that go into one. */
  readonly states = new PageStates(this);
  /** Index of a region's first page in the page map, by region. */
  readonly #firstIndex: readonly number[];

  constructor(domain: Domain, regions: readonly Region[], pageMap: number, tickOffset: number) {
    this.tickOffset = tickOffset;
    this.domain = domain;
    this.regions = regions;
    this.pageMap = pageMap;
    let index = 0;
    this.#firstIndex = regions.map(({ sizeBytes }) => {
      const first = index;
      index += sizeBytes / PAGE_SIZE;
      return first;
    });
    this.pages = index;
  }

  /** Index of the page at a guest-physical address, or -1 when no region has it. */
  pageIndex(address: number): number {
    for (const [number, region] of this.regions.entries()) {
      const offset = address - region.base;
      if (offset >= 0 && offset < region.sizeBytes)
        return defined(this.#firstIndex[number], 'a region') + Math.floor(offset / PAGE_SIZE);
    }
    return -1;
  }

  /** The page map entry of page `index`, which may now be read (or written). Throws a DomainFullError when that takes a frame and there is none. */
  frame(index: number, forWrite: boolean): number {
    const { domain } = this;
    const slot = (this.pageMap >>> 2) + index;
    const wanted = forWrite ? PAGE.WRITABLE : PAGE.PRESENT;
    let entry = defined(domain.u32[slot], 'a page map entry');
    if (entry & wanted) return entry;
    while (entry & PAGE.STATES) {
      entry = this.states.ready(index);
      if (entry & wanted) return entry;
    }
    if (domain.words) return this.#frameAmongThreads(slot, forWrite);
    if (!forWrite) {
      const made = (domain.frames.zero | PAGE.PRESENT) >>> 0;
      domain.u32[slot] = made;
      return made;
    }
    const made = this.#owned(slot, entry) | PAGE.WRITABLE;
    domain.u32[slot] = made;
    // Entries of the TLBs that map the frame it showed until now are stale.
    if (entry & PAGE.PRESENT && frameOf(made) !== frameOf(entry) && this.isResident) domain.purgeMoved(frameOf(entry));
    return made >>> 0;
  }

  /** What the entry at `slot` is to be when it may be written, but for the flag that says so. */
  #owned(slot: number, entry: number): number {
    const { domain } = this;
    const { frames } = domain;
    const before = frameOf(entry);
    if ((entry & PAGE.PRESENT) === 0 || before === frames.zero) return frames.take(slot) | PAGE.PRESENT;
    if (frames.references(before) === 1) {
      frames.own(before, slot);
      return before | PAGE.PRESENT | (domain.isWatching(before >>> PAGE_SHIFT) ? PAGE.WATCHED : 0);
    }
    const copy = frames.copy(before, slot);
    frames.release(before);
    return copy | PAGE.PRESENT;
  }

  /** The same among threads, which never have the zero frame. */
  #frameAmongThreads(slot: number, forWrite: boolean): number {
    const { domain } = this;
    const { u32 } = domain;
    for (;;) {
      const [before, made] = domain.locked(() => {
        const entry = Atomics.load(u32, slot);
        if (entry & (forWrite ? PAGE.WRITABLE | PAGE.MOVING : PAGE.PRESENT)) return [entry, entry];
        const owned = this.#owned(slot, entry);
        const isMove = (entry & PAGE.PRESENT) !== 0 && frameOf(owned) !== frameOf(entry);
        const next = (owned | (isMove ? PAGE.MOVING : PAGE.WRITABLE)) >>> 0;
        Atomics.store(u32, slot, next);
        return [entry, next];
      });
      if (before === made && forWrite && made & PAGE.MOVING) {
        domain.awaitOthers();
        continue;
      }
      if (before === made || made & PAGE.WRITABLE) return made >>> 0;
      domain.purgeMovedAmongThreads(frameOf(before));
      return domain.locked(() => {
        const entry = ((Atomics.load(u32, slot) & ~PAGE.MOVING) | PAGE.WRITABLE) >>> 0;
        Atomics.store(u32, slot, entry);
        return entry;
      });
    }
  }

  /** Host address of page `index` for reading or writing. */
  host(index: number, forWrite: boolean): number {
    return frameOf(this.frame(index, forWrite));
  }

  /**
   * Host address of page `index` for a loan: its frame stays the page's until the loan ends. So even who only reads gets one that is not shared, for
   * a store to the page would leave a shared one to others, who may free it.
   */
  lend(index: number, forWrite: boolean): number {
    const entry = this.frame(index, forWrite);
    const isShared = (entry & PAGE.WRITABLE) === 0 && frameOf(entry) !== this.domain.frames.zero;
    return frameOf(isShared ? this.frame(index, true) : entry);
  }

  /** Number of the frame of page `index`, which is given one to read when it has none. */
  frameNumber(index: number): number {
    return this.frame(index, false) >>> PAGE_SHIFT;
  }

  /** Whether writes to page `index`, which may be written, have to be told to `codeWritten`. */
  hasCode(index: number): boolean {
    const { u32, words } = this.domain;
    const slot = (this.pageMap >>> 2) + index;
    // Between threads: either who begins to watch the page sees what was written before, or this sees that it is watched.
    const entry = words ? Atomics.or(u32, slot, 0) : defined(u32[slot], 'a page map entry');
    return (entry & PAGE.WATCHED) !== 0;
  }

  /** `bytes` at `offset` of page `index` were written: what was made of its code is void. */
  codeWritten(index: number, offset: number, bytes: number): void {
    this.domain.codeWritten(this.frameNumber(index), offset, bytes);
  }

  /**
   * Gives `other`, which has no frames yet, all frames of this one: both share them from here on. Nobody executes this guest, and nobody has
   * loans of its memory. The TLBs must be flushed before its harts execute again.
   */
  shareWith(other: Guest): void {
    assert(other.pages === this.pages && other.domain === this.domain, 'guests that share memory are alike');
    other.states.source = this.states.source;
    const { u32, frames } = this.domain;
    const { zero } = frames;
    const [from, to] = [this.pageMap >>> 2, other.pageMap >>> 2];
    this.domain.locked(() => {
      for (let index = 0; index < this.pages; index++) {
        const entry = u32[from + index] ?? 0;
        if (entry === 0) continue;
        if (entry & PAGE.ELSEWHERE) {
          u32[to + index] = entry;
          continue;
        }
        assert((entry & PAGE.KEPT) === 0, 'a guest is shared when no snapshot of it is taken');
        if (entry & PAGE.AWAY) {
          this.domain.away?.keep(entry >>> PAGE_SHIFT);
          u32[to + index] = entry;
          continue;
        }
        const frame = frameOf(entry);
        if (frame !== zero) frames.share(frame);
        const shared = (frame | PAGE.PRESENT) >>> 0;
        u32[from + index] = shared;
        u32[to + index] = shared;
      }
    });
  }

  /** Frames that nobody else has, in bytes, and those that it has in all. */
  get memoryBytes(): { readonly own: number; readonly all: number } {
    const { u32, frames } = this.domain;
    let [own, all] = [0, 0];
    for (let index = 0; index < this.pages; index++) {
      const entry = u32[(this.pageMap >>> 2) + index] ?? 0;
      if (!hasFrame(entry) || frameOf(entry) === frames.zero) continue;
      all += PAGE_SIZE;
      if (frames.references(frameOf(entry)) === 1) own += PAGE_SIZE;
    }
    return { own, all };
  }

  /** Adds to `pages` the indices of those of `count` pages of which there is anything: of a guest's free memory that is often little. */
  addTouched(first: number, count: number, pages: number[]): void {
    const { u32 } = this.domain;
    const start = this.pageMap >>> 2;
    for (let index = first; index < first + count; index++)
      if (Atomics.load(u32, start + index) !== 0) pages.push(index);
  }

  /** What is in these pages, by their indices, is not needed any more: they read as zero, and their frames go back. Nobody has loans of them. */
  forget(pages: readonly number[]): void {
    const { domain } = this;
    const { u32, frames } = domain;
    for (const index of pages) while (this.states.of(index) === 'kept') this.states.ready(index);
    const had: number[] = [];
    domain.locked(() => {
      for (const index of pages) {
        const slot = (this.pageMap >>> 2) + index;
        const entry = Atomics.load(u32, slot);
        // One that just moves to another frame is in use; one that shows the zero frame may be known to a TLB.
        if (entry & PAGE.MOVING || (entry & PAGE.PRESENT && frameOf(entry) === frames.zero)) continue;
        Atomics.store(u32, slot, 0);
        if (entry & PAGE.AWAY) domain.away?.drop(entry >>> PAGE_SHIFT);
        if (hasFrame(entry)) had.push(frameOf(entry));
      }
    });
    if (had.length === 0) return;
    if (this.isResident || domain.words) domain.purgeGone(had.map((frame) => frame >>> PAGE_SHIFT));
    // Before anybody else can get them.
    for (const frame of had) if (frames.references(frame) === 1) domain.frameFreed(frame >>> PAGE_SHIFT);
    domain.locked(() => {
      for (const frame of had) frames.release(frame);
    });
  }

  /** Gives all its frames back; nobody executes it any more. */
  release(): void {
    const { domain } = this;
    const { u32, frames } = domain;
    const freed: number[] = [];
    domain.locked(() => {
      for (let index = 0; index < this.pages; index++) {
        const slot = (this.pageMap >>> 2) + index;
        const entry = u32[slot] ?? 0;
        u32[slot] = 0;
        if (entry & PAGE.AWAY) domain.away?.drop(entry >>> PAGE_SHIFT);
        if (!hasFrame(entry) || frameOf(entry) === frames.zero) continue;
        if (frames.release(frameOf(entry))) freed.push(frameOf(entry) >>> PAGE_SHIFT);
      }
    });
    for (const number of freed) domain.frameFreed(number);
  }
}
