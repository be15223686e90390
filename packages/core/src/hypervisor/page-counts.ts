/** What has become of a guest's pages, counted. */

import { PAGE_SHIFT } from '../base/numbers.ts';
import { frameOf, hasFrame } from '../engine/frames.ts';
import type { Guest } from '../engine/guest.ts';
import { PAGE } from '../engine/layout.ts';
import type { AwayStore } from './away-pages.ts';

/** A guest's memory, in pages. Those that it has never touched are in none of these. */
export interface PageCounts {
  /** That have a frame, but for that of zeros; and those of them that have it with others. */
  readonly resident: number;
  readonly shared: number;
  /** Frames that are not needed because of that, this guest's part: of a frame that three have a third is each one's. */
  readonly saved: number;
  /** That show the frame of zeros. */
  readonly zero: number;
  /** That are put away: packed, and in the paging file. */
  readonly packed: number;
  readonly paged: number;
}

export const NO_PAGES: PageCounts = { resident: 0, shared: 0, saved: 0, zero: 0, packed: 0, paged: 0 };

/** Looks at all its pages: a millisecond for a gigabyte. */
export function countPages({ domain, pageMap, pages }: Guest, away?: Pick<AwayStore, 'isPacked'>): PageCounts {
  const { u32, frames } = domain;
  let [resident, shared, saved, zero, packed, paged] = [0, 0, 0, 0, 0, 0];
  const start = pageMap >>> 2;
  for (let slot = start; slot < start + pages; slot++) {
    const entry = u32[slot] ?? 0;
    if (hasFrame(entry)) {
      if (frameOf(entry) === frames.zero) {
        zero++;
        continue;
      }
      resident++;
      const references = frames.references(frameOf(entry));
      if (references > 1) {
        shared++;
        saved += 1 - 1 / references;
      }
    } else if (entry & PAGE.AWAY) {
      if (away?.isPacked(entry >>> PAGE_SHIFT) === true) packed++;
      else paged++;
    }
  }
  return { resident, shared, saved, zero, packed, paged };
}
