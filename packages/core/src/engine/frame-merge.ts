/**
 * Pages that are equal get one frame: what forks have from birth, page by page. Only between slices of a domain whose guests take turns on one
 * thread, and of pages that no device has on loan.
 *
 *     page map A ──> frame 1, owned    page map B ──> frame 2, owned    same bytes
 *     page map A ──> frame 1, shared <── page map B                     frame 2 is free, and what was made of its code is gone
 *     page map C ──> frame 3, owned, all zeros   ──>   the zero frame
 *
 * INVARIANT: whoever runs next has no TLB entry from before (`Engine.flushResident`): a write TLB may have a frame that is shared now, and where a read
 * TLB has shared frames is noted when they are entered.
 */

import { assert } from '../base/assert.ts';
import { PAGE_SHIFT } from '../base/numbers.ts';
import type { Domain } from './domain.ts';
import { frameOf } from './frames.ts';
import { PAGE } from './layout.ts';

/** The page with the entry at `slot` shows `frame` from here on, which has the same bytes, and who owned that does so no more. */
export function mergeInto(domain: Domain, slot: number, frame: number): void {
  const { u32, frames } = domain;
  assert(domain.words === undefined, 'frames are merged where guests take turns on one thread');
  const owner = frames.owner(frame >>> PAGE_SHIFT);
  if (owner !== 0) u32[owner] = ((u32[owner] ?? 0) & ~(PAGE.WRITABLE | PAGE.WATCHED)) >>> 0;
  frames.share(frame);
  show(domain, slot, frame);
}

/** The page with the entry at `slot`, which is all zeros, shows the zero frame from here on. */
export function showZeros(domain: Domain, slot: number): void {
  show(domain, slot, domain.frames.zero);
}

function show(domain: Domain, slot: number, frame: number): void {
  const { u32, frames } = domain;
  const before = frameOf(u32[slot] ?? 0);
  u32[slot] = (frame | PAGE.PRESENT) >>> 0;
  if (frames.release(before)) domain.frameFreed(before >>> PAGE_SHIFT);
}
