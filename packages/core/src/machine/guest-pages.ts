/**
 * A machine's memory as a snapshot sees it: pages by their number, RAM first, then ROMs. Pages that are all zero are not there.
 *
 *     taking      protect -- while the machine is paused -- then `take` each page, while it runs; who writes one first has it kept aside
 *     restoring   setElsewhere, place -- before the machine runs -- then pages come as they are touched
 *     following   follow, then ask for what was written again and again (page-changes.ts)
 */

import { copyBytes } from '../base/copy-bytes.ts';
import { assert, defined } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import { frameOf, hasFrame } from '../engine/frames.ts';
import type { Guest } from '../engine/guest.ts';
import { checksumOf } from '../engine/block-work.ts';
import {
  codeRoom,
  decodeAhead,
  type ExecutedPage,
  executedLately,
  executedSlots,
  hasRecords,
  keepCode,
  placeCode,
} from '../engine/kept-code.ts';
import { PAGE } from '../engine/layout.ts';
import type { PageSource } from '../base/page-source.ts';
import { PageChanges } from './page-changes.ts';

export class GuestPages {
  readonly count: number;
  readonly #guest: Guest;
  readonly #harts: readonly { readonly base: number }[];
  readonly #clearTlbs: () => void;
  /** What pages held when they were protected, of those that were written since and nobody has taken yet; undefined when nothing is taken. */
  #kept: Map<number, Uint8Array> | undefined;
  /** Pages that were protected, a bit each; one that was taken is no more. */
  #wanted = new Uint8Array(0);
  #changes: PageChanges | undefined;

  /** `harts` execute it. */
  constructor(guest: Guest, harts: readonly { readonly base: number }[], clearTlbs: () => void) {
    this.#guest = guest;
    this.#harts = harts;
    this.#clearTlbs = clearTlbs;
    this.count = guest.pages;
  }

  /** From now on every page is as it is now, for `take`. Only while the machine is quiet. Gives how many pages have frames. */
  protect(): number {
    assert(!this.isProtected, 'one snapshot is taken at a time');
    this.#kept = new Map();
    this.#wanted = new Uint8Array(this.count);
    this.#guest.states.keep = (index) => this.keep(index);
    const protectedPages = this.#guest.states.protect(this.#wanted);
    this.#clearTlbs();
    return protectedPages;
  }

  /** Counts up with each page that was protected and is written; not with those that other threads write. */
  get rewritten(): number {
    return this.#guest.states.written;
  }

  /** Whether a snapshot is taken, or somebody follows what is written. */
  get isProtected(): boolean {
    return this.#kept !== undefined || this.#changes !== undefined;
  }

  /** Follows what the guest writes, until `end` of what it gives. Nothing is protected before its first question. */
  follow(): PageChanges {
    assert(!this.isProtected, 'one follows what is written at a time, and takes no snapshot meanwhile');
    this.#changes = new PageChanges(this.#guest, this.#clearTlbs, () => (this.#changes = undefined));
    return this.#changes;
  }

  /** Puts what page `index` holds now into `into`. False, and nothing is put there, when it was never written. */
  copy(index: number, into: Uint8Array): boolean {
    const state = this.#guest.states.of(index);
    if (state === 'none') return false;
    if (state === 'elsewhere') defined(this.#guest.states.source, 'a page source').load(index, into);
    else this.#see(index, (bytes) => copyBytes(bytes, 0, bytes.length, into, 0));
    return true;
  }

  /** Puts what pages hold now into `into`, side by side, those of them that are not all zeroes; gives which these are, in their order. */
  copyHeld(pages: readonly number[], into: Uint8Array): number[] {
    const { pageMap, domain } = this.#guest;
    const { u8, u32, blocks } = domain;
    const work = defined(blocks, 'an engine');
    const held: number[] = [];
    // Frames that lie side by side are copied in one go.
    let [first, bytes, at] = [0, 0, 0];
    const copyRun = (): void => {
      if (bytes > 0) copyBytes(u8, first, first + bytes, into, at);
      at += bytes;
      bytes = 0;
    };
    for (const index of pages) {
      const entry = u32[(pageMap >>> 2) + index] ?? 0;
      if (hasFrame(entry) && (entry & (PAGE.ELSEWHERE | PAGE.AWAY | PAGE.MOVING)) === 0) {
        const host = frameOf(entry);
        if (work.isZero(host) !== 0) continue;
        if (host !== first + bytes) copyRun();
        if (bytes === 0) first = host;
        bytes += PAGE_SIZE;
      } else {
        copyRun();
        const page = into.subarray(at, at + PAGE_SIZE);
        if (!this.copy(index, page) || !holdsSomething(page)) continue;
        at += PAGE_SIZE;
      }
      held.push(index);
    }
    copyRun();
    return held;
  }

  /** Whether the first `count` pages were never written. */
  isEmpty(count: number): boolean {
    for (let index = 0; index < count; index++) if (this.#guest.states.of(index) !== 'none') return false;
    return true;
  }

  /** Page `index` of a machine that does not run yet holds `from`; zeroes when it is undefined. */
  put(index: number, from: Uint8Array | undefined): void {
    assert(index < this.count, 'pages are within the guest');
    // What was decoded of it is void.
    if (hasRecords(this.#guest, index)) this.#guest.forget([index]);
    if (from === undefined) {
      if (this.#guest.states.of(index) !== 'none') this.#guest.forget([index]);
    } else copyBytes(from, 0, from.length, this.#guest.domain.u8, this.#guest.host(index, true));
  }

  /** Pages of a machine that does not run yet come from the source when they are touched, whatever they held. */
  lose(pages: readonly number[]): void {
    const others = this.#guest.states.loseAll(pages);
    this.#guest.forget(others);
    for (const index of others) this.setElsewhere(index, 1);
  }

  /** Brings a page from the source although nobody has touched it. */
  bring(index: number): void {
    if (this.#guest.states.of(index) === 'elsewhere') this.#guest.states.ready(index);
  }

  /** How page `index` was when pages were protected, as long as it was not taken: with bytes here, with bytes in the page source, or zero. */
  at(index: number): 'here' | 'elsewhere' | 'none' {
    return this.#wanted[index] === 1 ? 'here' : this.#wanted[index] === 2 ? 'elsewhere' : 'none';
  }

  /** A page is about to be written. On the machine's thread, where nobody can write it before this is done. */
  keep(index: number): void {
    if (this.#kept === undefined || this.#wanted[index] !== 1 || this.#kept.has(index)) return;
    if (this.#guest.states.of(index) === 'kept') this.#kept.set(index, this.#bytes(index).slice());
  }

  /** Bytes kept aside because the guest was faster. */
  get keptBytes(): number {
    return (this.#kept?.size ?? 0) * PAGE_SIZE;
  }

  /** Lets `use` see what page `index` held when it was protected, and no longer than that; the guest may write it again. Only of pages that are `here`. */
  take(index: number, use: (bytes: Uint8Array) => void): void {
    const kept = this.#kept?.get(index);
    if (kept === undefined) this.#see(index, use);
    else use(kept);
    if (kept === undefined) this.#guest.states.release(index);
    this.#kept?.delete(index);
    this.#wanted[index] = 0;
  }

  /**
   * As `take`, of pages from `first` on that are `here`, up to one that is elsewhere, and `most` of them; `use` sees those that hold something. Gives where it
   * stopped and how many pages it took.
   */
  takeRun(
    first: number,
    most: number,
    use: (index: number, bytes: Uint8Array) => void,
  ): { readonly next: number; readonly taken: number } {
    const kept = defined(this.#kept, 'a snapshot that is taken');
    const { u8, u32, blocks } = this.#guest.domain;
    const work = defined(blocks, 'an engine');
    const map = this.#guest.pageMap >>> 2;
    const pages = new Uint32Array(most);
    let [index, taken] = [first, 0];
    try {
      for (; index < this.count && taken < most; index++) {
        const wanted = this.#wanted[index];
        if (wanted === 2) break;
        if (wanted !== 1) continue;
        pages[taken++] = index;
        const copy = kept.get(index);
        const entry = u32[map + index] ?? 0;
        if (copy === undefined && (entry & PAGE.AWAY) === 0) {
          const host = frameOf(entry);
          if (work.isZero(host) === 0) use(index, u8.subarray(host, host + PAGE_SIZE));
        } else
          this.#see(index, (bytes) => {
            const page = copy ?? bytes;
            if (holdsSomething(page)) use(index, page);
          });
        if (copy !== undefined) kept.delete(index);
        this.#wanted[index] = 0;
      }
    } finally {
      this.#guest.states.releaseAll(pages, taken);
    }
    return { next: index, taken };
  }

  /** What a page that is `elsewhere` holds. */
  read(index: number, into: Uint8Array): void {
    defined(this.#guest.states.source, 'a page source').load(index, into);
    this.#wanted[index] = 0;
  }

  /** Nothing is taken any more: what is left may be written. */
  unprotect(): void {
    for (let index = 0; index < this.count; index++) if (this.#wanted[index] === 1) this.#guest.states.release(index);
    this.#kept = undefined;
    this.#wanted = new Uint8Array(0);
    this.#guest.states.keep = undefined;
  }

  /** Pages [first, first + count) come from the source when they are touched. Only before the machine runs. */
  setElsewhere(first: number, count: number): void {
    assert(first >= 0 && first + count <= this.count, 'pages are within the guest');
    this.#guest.states.setElsewhere(first, count);
  }

  set source(source: PageSource | undefined) {
    this.#guest.states.source = source;
  }

  get source(): PageSource | undefined {
    return this.#guest.states.source;
  }

  /**
   * Gives the pages of a list memory side by side, to be filled before the machine runs. They have none yet. Undefined where their domain has no such
   * memory, or had to take new of the host although others have given as much back: then they come one by one.
   */
  place(pages: Uint32Array): Uint8Array | undefined {
    assert(
      pages.every((index) => index < this.count),
      'pages are within the guest',
    );
    const first = this.#guest.states.placeTogether(pages.length, (n) => defined(pages[n], 'a page'));
    return first === undefined ? undefined : this.#guest.domain.u8.subarray(first, first + pages.length * PAGE_SIZE);
  }

  /** How many pages have code that was decoded. */
  get codePages(): number {
    return this.#guest.domain.codePagesInUse;
  }

  /** What was decoded of the guest's code, for `placeCode` of another machine: anew, of what pages held by `bytesOf`, false where it does not know. */
  keepCode(bytesOf: (page: number, into: Uint8Array) => boolean): Uint8Array {
    return keepCode(this.#guest, bytesOf);
  }

  /** Room for so many bytes of what `keepCode` gave, of so many pages, for `placeCode`: where it is not copied once more. Undefined when there is none. */
  codeRoom(pages: number, bytes: number): Uint8Array | undefined {
    return codeRoom(this.#guest, pages, bytes);
  }

  /** 64 bits that tell whether bytes have been broken by accident: of this memory, where that is fast, or of others; a multiple of ROUND_BYTES (engine) of them. */
  checksum(seed: bigint, bytes: Uint8Array): bigint {
    return checksumOf(this.#guest.domain, seed, bytes);
  }

  /** Gives pages that hold what they did for `keepCode` what was decoded of it then, before the machine runs. Gives how many of them had memory. */
  placeCode(code: Uint8Array): number {
    return placeCode(this.#guest, code);
  }

  /** Pages that the guest has executed since its TLBs were cleared, which is when somebody who follows what it writes asked. */
  get executedLately(): number[] {
    return executedLately(
      this.#guest,
      this.#harts.map(({ base }) => base),
    );
  }

  /** At which half words of such a page instructions begin. */
  executedSlots(page: number): number[] {
    return executedSlots(this.#guest, page);
  }

  /** Decodes what pages hold, where others have executed the same, before the machine runs: so it begins as fast as it was. */
  decodeAhead(pages: readonly ExecutedPage[]): void {
    decodeAhead(this.#guest, pages);
  }

  /** Lets `use` see what page `index` holds. One that was put away stays so: a snapshot is no reason to bring back what nobody uses. */
  #see(index: number, use: (bytes: Uint8Array) => void): void {
    const { pageMap, domain } = this.#guest;
    const { u8, u32, frames, away } = domain;
    const entry = u32[(pageMap >>> 2) + index] ?? 0;
    if ((entry & PAGE.AWAY) === 0) return use(this.#bytes(index));
    const frame = frames.hold();
    try {
      defined(away, 'pages that were put away').load(entry >>> PAGE_SHIFT, frame);
      use(u8.subarray(frame, frame + PAGE_SIZE));
    } finally {
      frames.release(frame);
    }
  }

  #bytes(index: number): Uint8Array {
    const host = this.#guest.host(index, false);
    return this.#guest.domain.u8.subarray(host, host + PAGE_SIZE);
  }
}

/** Whether a page is not all zeroes: a plain loop, over some words at a time. */
export function holdsSomething({ buffer, byteOffset }: Uint8Array): boolean {
  const words = new Int32Array(buffer, byteOffset, PAGE_SIZE / 4);
  for (let n = 0; n < words.length; n += 4)
    if (((words[n] ?? 0) | (words[n + 1] ?? 0) | (words[n + 2] ?? 0) | (words[n + 3] ?? 0)) !== 0) return true;
  return false;
}
