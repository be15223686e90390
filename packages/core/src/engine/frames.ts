/**
 * The frames of a memory domain: who has them, and how many. A frame is
 *
 *     free     zero references; in the list of those that were given back, or never handed out yet (then it is zero)
 *     owned    one reference, and the page map entry that may write to it is noted
 *     shared   references of several page maps, none of which may write: who does gets a copy
 *     held     one reference, and HELD instead of an owner: what is in it is no guest's page
 *
 * The zero frame is everybody's and is not counted; no other frame has its place in what TLBs note of shared frames (SHARED_PLACES). Frames that were given back are zeroed before another page gets them. Behind the frames,
 * from the end of the memory down, lie runs of whole pages for what the domain keeps of its further guests.
 *
 * Only with the domain's lock held where several threads execute its harts.
 */

import { assert, defined } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import { CONTROL, type DomainLayout, PAGE, SHARED_PLACES } from './layout.ts';

/** Of a frame's two words in the frame table: references, and the position of its owner's page map entry (of a free one: the next free one). */
const REFERENCES = 0;
const OWNER = 1;
/** Instead of the owner's position, of a frame that is held. */
const HELD = 0xffff_ffff;

/** A domain of 4 GiB has no room left: for a frame, or for what a guest needs beside them. */
export class DomainFullError extends Error {
  override readonly name = 'DomainFullError';
}

export class Frames {
  /** Host address of the frame that every page shows which was never written. */
  readonly zero: number;
  readonly #layout: DomainLayout;
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #table: number;
  /** Runs that were given back, by their number of pages. */
  readonly #runs = new Map<number, number[]>();

  constructor(u8: Uint8Array, u32: Uint32Array, layout: DomainLayout) {
    this.#u8 = u8;
    this.#u32 = u32;
    this.#layout = layout;
    this.#table = layout.frameTable >>> 2;
    this.zero = layout.frames;
  }

  /** Of a domain that is new. */
  begin(): void {
    this.#put(CONTROL.nextFrame, this.#layout.frames + PAGE_SIZE);
    this.#put(CONTROL.framesEnd, this.#layout.totalBytes);
  }

  /** Frames that can be had. */
  get available(): number {
    return this.#get(CONTROL.freeFrames) + (this.#get(CONTROL.framesEnd) - this.#get(CONTROL.nextFrame)) / PAGE_SIZE;
  }

  /** Frames that somebody has, in bytes. */
  get usedBytes(): number {
    return this.#get(CONTROL.nextFrame) - this.#layout.frames - this.#get(CONTROL.freeFrames) * PAGE_SIZE;
  }

  /** The most that somebody ever had, in bytes: WebAssembly gives no page of its memory back, so the computer has so much less. */
  get touchedBytes(): number {
    return this.#get(CONTROL.nextFrame) - this.#layout.frames;
  }

  /** A frame of zeros, owned by the page map entry at `slot`; its host address. Throws a DomainFullError when there is none. */
  take(slot: number): number {
    const { frame, isZero } = this.#any();
    if (!isZero) this.#u8.fill(0, frame, frame + PAGE_SIZE);
    this.#have(frame, slot);
    return frame;
  }

  /**
   * `count` frames of zeros side by side, owned by the page map entries that `slot` gives; the address of the first. They are such as were never handed out:
   * undefined when there are not so many, or as many were given back, which others would have to do without.
   */
  takeTogether(count: number, slot: (number: number) => number): number | undefined {
    const first = this.#get(CONTROL.nextFrame);
    const isThere = first + count * PAGE_SIZE <= this.#get(CONTROL.framesEnd);
    if (!isThere || (count > 0 && this.#get(CONTROL.freeFrames) >= count)) return undefined;
    this.#put(CONTROL.nextFrame, first + count * PAGE_SIZE);
    for (let number = 0; number < count; number++) this.#have(first + number * PAGE_SIZE, slot(number));
    return first;
  }

  /** A frame with the bytes of the one at `from`, owned by the page map entry at `slot`. */
  copy(from: number, slot: number): number {
    const { frame } = this.#any();
    this.#u8.copyWithin(frame, from, from + PAGE_SIZE);
    this.#have(frame, slot);
    return frame;
  }

  /** A frame with anything in it that is no guest's page; `release` gives it back. Throws a DomainFullError when there is none. */
  hold(): number {
    const { frame } = this.#any();
    this.#have(frame, HELD);
    return frame;
  }

  /** Whether frame number `number` is a page of guests': neither free nor held. */
  isPage(number: number): boolean {
    return this.#word(number, REFERENCES) > 0 && this.#word(number, OWNER) !== HELD;
  }

  #any(): { readonly frame: number; readonly isZero: boolean } {
    const number = this.#get(CONTROL.freeFrame);
    if (number !== 0) {
      this.#put(CONTROL.freeFrame, this.#word(number, OWNER));
      this.#put(CONTROL.freeFrames, this.#get(CONTROL.freeFrames) - 1);
      return { frame: number * PAGE_SIZE, isZero: false };
    }
    let frame = this.#get(CONTROL.nextFrame);
    if (((frame - this.zero) / PAGE_SIZE) % SHARED_PLACES === 0) frame += PAGE_SIZE;
    if (frame >= this.#get(CONTROL.framesEnd)) throw new DomainFullError('The memory domain has no frame left');
    this.#put(CONTROL.nextFrame, frame + PAGE_SIZE);
    return { frame, isZero: true };
  }

  #have(frame: number, slot: number): void {
    const at = this.#at(frame);
    this.#u32[at + REFERENCES] = 1;
    this.#u32[at + OWNER] = slot;
  }

  references(frame: number): number {
    return defined(this.#u32[this.#at(frame) + REFERENCES], 'a frame');
  }

  /** Position of the page map entry that may write to frame number `number`, or 0. */
  owner(number: number): number {
    return this.#word(number, OWNER);
  }

  /** The only one who still has the frame owns it from here on. */
  own(frame: number, slot: number): void {
    assert(this.references(frame) === 1, 'a frame is owned by the only one who has it');
    this.#u32[this.#at(frame) + OWNER] = slot;
  }

  /** Another page map has the frame too: nobody owns it. */
  share(frame: number): void {
    const at = this.#at(frame);
    this.#u32[at + REFERENCES] = defined(this.#u32[at + REFERENCES], 'a frame') + 1;
    this.#u32[at + OWNER] = 0;
  }

  /** A page map has it no more; true when nobody has, and it is free. */
  release(frame: number): boolean {
    const at = this.#at(frame);
    const left = defined(this.#u32[at + REFERENCES], 'a frame') - 1;
    assert(left >= 0, 'a frame is released by who has it');
    this.#u32[at + REFERENCES] = left;
    if (left > 0) return false;
    this.#u32[at + OWNER] = this.#get(CONTROL.freeFrame);
    this.#put(CONTROL.freeFrame, frame >>> PAGE_SHIFT);
    this.#put(CONTROL.freeFrames, this.#get(CONTROL.freeFrames) + 1);
    return true;
  }

  /** `pages` pages in a row, of zeros, that are no frames; throws a DomainFullError when there is no room. */
  takeRun(pages: number): number {
    const known = this.#runs.get(pages)?.pop();
    if (known !== undefined) {
      this.#u8.fill(0, known, known + pages * PAGE_SIZE);
      return known;
    }
    const at = this.#get(CONTROL.framesEnd) - pages * PAGE_SIZE;
    if (at < this.#get(CONTROL.nextFrame))
      throw new DomainFullError(`The memory domain has no room for ${pages * (PAGE_SIZE / 1024)} KiB of tables`);
    this.#put(CONTROL.framesEnd, at);
    return at;
  }

  /** Gives back what `takeRun` gave. */
  giveRun(at: number, pages: number): void {
    const runs = this.#runs.get(pages) ?? [];
    runs.push(at);
    this.#runs.set(pages, runs);
  }

  #at(frame: number): number {
    return this.#table + 2 * (frame >>> PAGE_SHIFT);
  }

  #word(number: number, word: number): number {
    return defined(this.#u32[this.#table + 2 * number + word], 'a frame');
  }

  #get(word: number): number {
    return defined(this.#u32[word >>> 2], 'a word of the domain');
  }

  #put(word: number, value: number): void {
    this.#u32[word >>> 2] = value;
  }
}

/** Whether a page map entry has a frame of guests', be it the zero frame. */
export function hasFrame(entry: number): boolean {
  return (entry & (PAGE.PRESENT | PAGE.DORMANT)) !== 0;
}

/** The host address in a page map entry. */
export function frameOf(entry: number): number {
  return (entry & ~PAGE.MASK) >>> 0;
}
