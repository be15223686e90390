/**
 * Frames of pages that nobody touches, for others. A page goes in two steps, so that one that is in use is known by its being touched:
 *
 *     PRESENT  --doze-->  DORMANT, its frame untouched  --put away-->  AWAY, its bytes with `Domain.away`, by a number in the entry
 *        ^----- touched ------'------------- touched: a frame, filled from there ---------------'
 *
 * Generated code takes both for "no frame yet" and comes to `Guest.frame`. Only between slices of a domain whose guests take turns on one thread, for
 * pages that no device has on loan, of guests of which no snapshot is taken.
 *
 * INVARIANT: whoever runs next has no TLB entry from before (`Engine.flushResident`).
 */

import { assert } from '../base/assert.ts';
import { PAGE_SHIFT } from '../base/numbers.ts';
import type { Domain } from './domain.ts';
import { frameOf, hasFrame } from './frames.ts';
import { PAGE } from './layout.ts';

/** Numbers that a page map entry has room for. */
export const MAXIMUM_AWAY_PAGES = 2 ** 20;

/** Where pages are that have no frame. A number is that of a page's bytes, which several page maps may have. */
export interface AwayPages {
  /** Fills the frame at `frame`. Throws when it cannot, and the page is where it was. */
  load(number: number, frame: number): void;
  /** Another page map has it, too. */
  keep(number: number): void;
  /** A page map has it no more. */
  drop(number: number): void;
}

/** Whoever touches the page with the entry at `slot` is noticed from now on; false when that is so already, or cannot be. */
export function doze(domain: Domain, slot: number): boolean {
  const { u32, frames } = domain;
  const entry = u32[slot] ?? 0;
  if ((entry & (PAGE.PRESENT | PAGE.KEPT | PAGE.MOVING)) !== PAGE.PRESENT || frameOf(entry) === frames.zero)
    return false;
  u32[slot] = ((entry & ~(PAGE.PRESENT | PAGE.WRITABLE)) | PAGE.DORMANT) >>> 0;
  return true;
}

/** The page with the entry at `slot`, whose bytes are with `Domain.away` under `number`, has its frame no more. Gives whether that is free now. */
export function putAway(domain: Domain, slot: number, number: number): boolean {
  const { u32, frames } = domain;
  const entry = u32[slot] ?? 0;
  assert(number < MAXIMUM_AWAY_PAGES && hasFrame(entry), 'a page that is put away has a frame, and gets a number');
  u32[slot] = ((number << PAGE_SHIFT) | PAGE.AWAY) >>> 0;
  const isFree = frames.release(frameOf(entry));
  if (isFree) domain.frameFreed(entry >>> PAGE_SHIFT);
  return isFree;
}

/** A page that was DORMANT or AWAY is touched; gives its entry, which has neither flag. */
export function touch(domain: Domain, slot: number): number {
  const { u32, frames, away } = domain;
  const entry = u32[slot] ?? 0;
  let made: number;
  if (entry & PAGE.AWAY) {
    if (away === undefined) throw new Error('A page was put away, and nobody knows where');
    const frame = frames.take(slot);
    try {
      away.load(entry >>> PAGE_SHIFT, frame);
    } catch (error) {
      frames.release(frame);
      throw error;
    }
    away.drop(entry >>> PAGE_SHIFT);
    // One that is to be kept before it is written still is.
    made = frame | PAGE.PRESENT | (entry & PAGE.KEPT ? PAGE.KEPT : PAGE.WRITABLE);
  } else {
    const isOwn = frames.owner(entry >>> PAGE_SHIFT) === slot;
    made = (entry & ~PAGE.DORMANT) | PAGE.PRESENT | (isOwn ? PAGE.WRITABLE : 0);
  }
  u32[slot] = made;
  return made >>> 0;
}
