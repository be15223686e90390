/**
 * What is left of a machine's memory when it is handed over. Where pages follow later, those that the guest writes all the time go with its state: its
 * kernel's, its stacks; it would wait for them one after the other.
 */

import type { PageChanges } from '../../machine/page-changes.ts';

export interface Rest {
  readonly pages: readonly number[];
  /** Those that go with the state where the others follow. */
  readonly hot: readonly number[];
  /** Whether they follow when the machine runs there. */
  readonly isPartial: boolean;
  readonly stoodSinceNs: number;
}

/** How often, and for how long, it is looked what a guest writes all the time; and how much of it goes with its state. */
const HOT_LOOKS = 2;
const HOT_MS = 3;
const MAXIMUM_HOT_PAGES = 256;

/** They are what it writes during each of two moments that it runs, after which it stands still, since what `runOn` gives. */
export async function withHot(
  changes: PageChanges,
  pages: readonly number[],
  runOn: (ms: number) => Promise<number>,
): Promise<Rest> {
  const written = new Set(pages);
  let hot: readonly number[] = [];
  let stoodSinceNs = 0;
  for (let look = 0; look < HOT_LOOKS; look++) {
    stoodSinceNs = await runOn(HOT_MS);
    const now = changes.take();
    for (const index of now) written.add(index);
    const before = new Set(hot);
    hot = look === 0 ? now : now.filter((index) => before.has(index));
  }
  hot = hot.slice(0, Math.min(MAXIMUM_HOT_PAGES, written.size >>> 2));
  for (const index of hot) written.delete(index);
  return { pages: [...written], hot, isPartial: true, stoodSinceNs };
}
