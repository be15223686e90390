/**
 * Finds pages of a domain's machines that are equal, and has them share a frame: machines of one image have the same kernel and programs, each brought
 * into memory by itself.
 *
 *     page ── hash ── other than at the last look ──> it is at work: noted, and left alone
 *                  ── the same ── all zeros ────────> the zero frame
 *                              ── as another frame's, and the bytes are equal ──> that frame, copy-on-write
 *                              ── nobody else's ────> known to those that come
 *
 * All machines of a domain have one trust label (machine/machine-domain.ts): who shares can tell by the time that a write takes that somebody else
 * has the same page.
 */

import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import type { Engine } from '../engine/engine.ts';
import { mergeInto, showZeros } from '../engine/frame-merge.ts';
import { frameOf, hasFrame } from '../engine/frames.ts';
import type { Guest } from '../engine/guest.ts';
import { PAGE } from '../engine/layout.ts';
import type { PageWork } from '../engine/page-work.ts';

/** Pages between two looks at the clock. */
const CHUNK = 64;
/** Frames that are known by one place of the table. */
const WAYS = 4;
/** In which a page is left alone. */
const STATES = PAGE.MOVING | PAGE.ELSEWHERE | PAGE.KEPT | PAGE.AWAY;

/** A machine whose pages are looked at. */
export interface Scanned {
  readonly guest: Guest;
  readonly ram: { lentPages(): readonly number[] };
  /** One of which a snapshot is taken, or that somebody follows, is left alone: what is written of it is seen by its page map. */
  readonly pages: { readonly isProtected: boolean };
}

/** All that was done since the beginning. */
export interface ScanCounts {
  /** Pages that were looked at and had a frame to compare. */
  readonly looks: number;
  /** Frames that were given back because another one had the same bytes, or because it was all zeros. */
  readonly merged: number;
  readonly zeros: number;
  /** Times that it has been through all machines. */
  readonly passes: number;
}

export class PageScanner {
  readonly #engine: Engine;
  readonly #work: PageWork;
  readonly #machines: ReadonlySet<Scanned>;
  /** What a frame's bytes amounted to at the last look, by its number; 0: not looked at. */
  readonly #hashes: Int32Array;
  /** Numbers of frames, by their hash, WAYS of each; 0: none. */
  readonly #known: Int32Array;
  readonly #places: number;
  readonly #zeroHash: number;
  /** Machines of this pass that are still to come, the present one first, and its next page. */
  #left: Scanned[] = [];
  #next = 0;
  #way = 0;
  readonly #counts = { looks: 0, merged: 0, zeros: 0, passes: 0 };

  constructor(engine: Engine, work: PageWork, machines: ReadonlySet<Scanned>) {
    const { layout, frames } = engine.domain;
    this.#engine = engine;
    this.#work = work;
    this.#machines = machines;
    this.#hashes = new Int32Array(layout.totalBytes / PAGE_SIZE);
    this.#places = 2 ** Math.ceil(Math.log2(layout.frameCount / WAYS));
    this.#known = new Int32Array(this.#places * WAYS);
    this.#zeroHash = work.hashPage(frames.zero);
  }

  get counts(): ScanCounts {
    return { ...this.#counts };
  }

  /** Goes on while `hasTime`, to the end of the pass at most; gives whether that was reached. Between slices. */
  scan(hasTime: () => boolean): boolean {
    if (this.#left.length === 0) this.#left = [...this.#machines];
    const pinned = pinnedFrames(this.#machines);
    const { merged, zeros } = this.#counts;
    do {
      const machine = this.#left[0];
      if (machine === undefined) break;
      // One that has ended has a page map no more.
      const isLeft = !this.#machines.has(machine) || machine.pages.isProtected;
      const pages = isLeft ? 0 : machine.guest.pages;
      const end = Math.min(this.#next + CHUNK, pages);
      for (; this.#next < end; this.#next++) this.#look((machine.guest.pageMap >>> 2) + this.#next, pinned);
      if (this.#next < pages) continue;
      this.#left.shift();
      this.#next = 0;
    } while (hasTime());
    if (this.#counts.merged + this.#counts.zeros > merged + zeros) this.#engine.flushResident();
    if (this.#left.length > 0) return false;
    this.#counts.passes++;
    return true;
  }

  #look(slot: number, pinned: ReadonlySet<number>): void {
    const { domain } = this.#engine;
    const { frames } = domain;
    const entry = domain.u32[slot] ?? 0;
    const frame = frameOf(entry);
    if (!hasFrame(entry) || (entry & STATES) !== 0 || frame === frames.zero) return;
    const number = frame >>> PAGE_SHIFT;
    const before = this.#hashes[number] ?? 0;
    const isShared = frames.owner(number) === 0;
    // A frame that is known does not change while it is shared.
    if ((isShared && before !== 0) || pinned.has(number)) return;
    this.#counts.looks++;
    const hash = this.#work.hashPage(frame);
    this.#hashes[number] = hash;
    if (!isShared && before !== hash) return;
    if (hash === this.#zeroHash && this.#work.isZeroPage(frame) === 1) {
      showZeros(domain, slot);
      this.#counts.zeros++;
      return;
    }
    const other = this.#equal(number, hash, pinned);
    if (other === undefined) return;
    this.#merge(slot, number, other);
    this.#counts.merged++;
  }

  /** The number of another frame with the bytes of frame `number`; when there is none, this one is known from here on. */
  #equal(number: number, hash: number, pinned: ReadonlySet<number>): number | undefined {
    const place = ((hash >>> 1) % this.#places) * WAYS;
    let free = -1;
    for (let at = place; at < place + WAYS; at++) {
      const other = this.#known[at] ?? 0;
      if (other === number) return undefined;
      if (other === 0 || this.#hashes[other] !== hash) {
        // Not to be found any more, or of another hash: a place for this one, if there is no other.
        if (free < 0 && (other === 0 || !this.#isAt(other, place))) free = at;
        continue;
      }
      const isPage = this.#engine.domain.frames.isPage(other);
      if (!isPage) free = at;
      else if (!pinned.has(other) && this.#work.equalPages(number * PAGE_SIZE, other * PAGE_SIZE) === 1) return other;
    }
    this.#way = (this.#way + 1) % WAYS;
    this.#known[free < 0 ? place + this.#way : free] = number;
    return undefined;
  }

  /** Whether frame `number` still belongs to `place`. */
  #isAt(number: number, place: number): boolean {
    return (((this.#hashes[number] ?? 0) >>> 1) % this.#places) * WAYS === place;
  }

  /** One of two frames goes: the one that has no code of which something was made, where that is the other's only page. */
  #merge(slot: number, number: number, other: number): void {
    const { domain } = this.#engine;
    const owner = domain.frames.owner(other);
    const isPlain = owner !== 0 && ((domain.u32[owner] ?? 0) & STATES) === 0;
    if (!isPlain || domain.isWatching(other) || !domain.isWatching(number)) {
      mergeInto(domain, slot, other * PAGE_SIZE);
      return;
    }
    mergeInto(domain, owner, number * PAGE_SIZE);
    const place = ((this.#hashes[number] ?? 0) >>> 1) % this.#places;
    for (let at = place * WAYS; at < (place + 1) * WAYS; at++) if (this.#known[at] === other) this.#known[at] = number;
  }
}

/** Numbers of the frames that devices have on loan. */
function pinnedFrames(machines: Iterable<Scanned>): Set<number> {
  const pinned = new Set<number>();
  for (const { guest, ram } of machines) {
    for (const index of ram.lentPages())
      pinned.add((guest.domain.u32[(guest.pageMap >>> 2) + index] ?? 0) >>> PAGE_SHIFT);
  }
  return pinned;
}
