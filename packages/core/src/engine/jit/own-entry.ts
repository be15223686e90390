/**
 * Regions that begin in the middle of a loop: compilers put what a round leaves to the next one (`j = i; i = h`) before the loop's first
 * instruction and jump over it when the loop begins, and what is hot is where the round jumps back to.
 *
 *            entry: mv ..        <── hot, and the region's entry         entry': mv ..  ─┐
 *     ────>  head:  ...                                                  entry:  mv ..   │ <─┐
 *            bnez   entry                                         ────>  head:   ...  <──┘   │
 *                                                                        bnez ───────────────┘
 *
 * With a copy of its own for whoever comes from outside, `head` begins both the loop and what is around it, instead of the entry beginning a loop
 * of everything, each round of which would go through two loops' beginnings.
 */

import { type Block, type Region, successors } from './region.ts';

/** Instructions of an entry that is copied. */
const MAX_COPIED = 16;

export function withOwnEntry(region: Region): Region {
  const { entry, blocks, opCount } = region;
  const { end, ops } = entry;
  if ((end.kind !== 'next' && end.kind !== 'jump') || end.to.kind !== 'block' || ops.length > MAX_COPIED) return region;
  const head = end.to.block;
  if (head === entry || !isReached(blocks, entry) || !isReached(blocks, head, entry)) return region;
  const copy = { ...entry, number: blocks.length };
  return { ...region, entry: copy, blocks: [...blocks, copy], opCount: opCount + ops.length };
}

/** Whether any of `blocks` goes to `block`, `but` left out. */
function isReached(blocks: readonly Block[], block: Block, but?: Block): boolean {
  return blocks.some((from) => from !== but && successors(from.end).includes(block));
}
