/**
 * Calls of small leaf functions become part of the region: a copy of the function's blocks for each call, whose return is a jump to behind
 * the call. So nothing is stored, looked up and loaded again. The function may lie in any page that was fetched from lately; the way there
 * looks whether it still is what is mapped there.
 */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { Decoded } from '../../isa/instruction.ts';
import { type Block, type CodeView, type Op, type Region, type Target, discover, mapTargets } from './region.ts';
import { usesOf } from './registers.ts';

/** Instructions of a function that is copied, and of all copies in one region. */
const MAX_LEAF_OPS = 32;
const MAX_COPIED_OPS = 160;
/** The return address register ra. */
const RA = 1;

/** The region with its calls of leaf functions resolved. */
export function inlineCalls(view: CodeView, region: Region): Region {
  const blocks = [...region.blocks];
  const ranges = [...region.ranges];
  const leaves = new Map<number, Region | undefined>();
  let copied = 0;
  for (const block of region.blocks) {
    const { end } = block;
    if (end.kind !== 'call' || end.callee === undefined || block.ops.at(-1)?.decoded.rd !== RA) continue;
    const { callee, back } = end;
    if (!leaves.has(callee)) leaves.set(callee, leafAt(view, callee));
    const leaf = leaves.get(callee);
    if (!leaf || copied + leaf.opCount > MAX_COPIED_OPS) continue;
    copied += leaf.opCount;
    ranges.push(...leaf.ranges);
    block.end = { kind: 'jump', to: { kind: 'block', block: copy(leaf, back, blocks) } };
  }
  return { entry: region.entry, blocks, ranges, opCount: region.opCount + copied };
}

/** The leaf function at `callee`, if it is one: small, without calls, and it returns to where ra says from the start. */
function leafAt(view: CodeView, callee: number): Region | undefined {
  if (!view.isWarm(callee)) return undefined;
  const start = Math.floor(callee / PAGE_SIZE) * PAGE_SIZE;
  const there: CodeView = {
    half: (offset) => view.half(offset + start),
    isWarm: (offset) => view.isWarm(offset + start),
  };
  const leaf = discover(there, callee - start, MAX_LEAF_OPS + 1);
  if (!leaf || leaf.opCount > MAX_LEAF_OPS || !leaf.blocks.every(isOfLeaf)) return undefined;
  if (!leaf.blocks.some(({ end }) => end.kind === 'return')) return undefined;
  return moved(leaf, start);
}

function isOfLeaf({ ops, end }: Block): boolean {
  if (end.kind === 'call' || end.kind === 'indirect') return false;
  if (end.kind === 'return' && !isPlainReturn(ops.at(-1)?.decoded)) return false;
  return ops.every(({ decoded }) => (usesOf(decoded).writes.x & (1 << RA)) === 0);
}

const isPlainReturn = (decoded: Decoded | undefined): boolean => decoded?.rs1 === RA && decoded.imm === 0;

/** The same region seen from a page that lies `by` bytes before its own. */
function moved(region: Region, by: number): Region {
  const blocks = new Map<Block, Block>();
  for (const block of region.blocks) {
    const ops = block.ops.map((op): Op => ({ ...op, offset: op.offset + by }));
    blocks.set(block, { ...block, start: block.start + by, ops, page: block.page + by / PAGE_SIZE });
  }
  const target = (old: Target): Target => {
    if (old.kind === 'outside') return { kind: 'outside', offset: old.offset + by };
    return { kind: 'block', block: blocks.get(old.block) ?? old.block };
  };
  for (const block of blocks.values())
    block.end =
      block.end.kind === 'leave' ? { kind: 'leave', offset: block.end.offset + by } : mapTargets(block.end, target);
  return {
    entry: blocks.get(region.entry) ?? region.entry,
    blocks: [...blocks.values()],
    opCount: region.opCount,
    ranges: region.ranges.map(([first, end]) => [first + by, end + by]),
  };
}

/** A copy of `leaf` that goes on at `back`, its blocks added to `blocks`; gives its first block. */
function copy(leaf: Region, back: Target, blocks: Block[]): Block {
  const copies = new Map<Block, Block>();
  for (const block of leaf.blocks) {
    const made = { ...block, number: blocks.length };
    copies.set(block, made);
    blocks.push(made);
  }
  const target = (old: Target): Target =>
    old.kind === 'outside' ? old : { kind: 'block', block: copies.get(old.block) ?? old.block };
  for (const made of copies.values())
    made.end = made.end.kind === 'return' ? { kind: 'jump', to: back } : mapTargets(made.end, target);
  return copies.get(leaf.entry) ?? leaf.entry;
}
