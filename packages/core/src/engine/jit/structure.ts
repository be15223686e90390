/**
 * From a region's flow graph to the shape that WebAssembly's structured control can say (Ramsey, "Beyond Relooper", ICFP 2022): blocks in
 * reverse postorder, the dominator tree, which blocks begin loops and which have several ways in. An edge that no such shape has (into
 * the middle of a loop) becomes a way out of the region: the block it goes to is then entered anew.
 */

import { defined } from '../../base/assert.ts';
import { type Block, type Region, type Target, successors } from './region.ts';

export interface Structure {
  /** Blocks that can be reached, in reverse postorder. */
  readonly order: readonly Block[];
  /** Position in `order`. */
  position(block: Block): number;
  /** Blocks that begin a loop. */
  isLoop(block: Block): boolean;
  /** Blocks with more than one forward way in. */
  isMerge(block: Block): boolean;
  /** The blocks whose immediate dominator is `block` and which are merges, the last in `order` first. */
  mergesUnder(block: Block): readonly Block[];
  /** Blocks with an edge to `block`, one entry an edge. */
  predecessors(block: Block): readonly Block[];
  /** The innermost loop that `block` is in (its first block), if any. */
  loopOf(block: Block): Block | undefined;
}

export function structureOf(region: Region): Structure {
  for (;;) {
    const order = reversePostorder(region.entry);
    const position = new Map(order.map((block, index) => [block, index]));
    const at = (block: Block): number => defined(position.get(block), 'a reachable block');
    const predecessors = new Map<Block, Block[]>(order.map((block) => [block, []]));
    for (const block of order) for (const next of successors(block.end)) defined(predecessors.get(next), 'a block').push(block);
    const dominator = dominators(order, at, predecessors);
    const dominates = (above: Block, below: Block): boolean => {
      for (let block = below; ; block = defined(dominator[at(block)], 'a dominator')) {
        if (block === above) return true;
        if (at(block) <= at(above)) return false;
      }
    };
    if (cutIrreducible(order, at, dominates)) continue;
    const loops = new Set<Block>();
    const merges = new Set<Block>();
    for (const block of order) {
      const forward = (predecessors.get(block) ?? []).filter((from) => at(from) < at(block)).length;
      if (forward > 1) merges.add(block);
      if ((predecessors.get(block) ?? []).some((from) => at(from) >= at(block))) loops.add(block);
    }
    const under = new Map<Block, Block[]>();
    for (const block of order.toReversed()) {
      if (!merges.has(block)) continue;
      const above = defined(dominator[at(block)], 'a dominator');
      under.set(above, [...(under.get(above) ?? []), block]);
    }
    const innermost = innermostLoops(order, at, predecessors, loops);
    return {
      order,
      position: at,
      isLoop: (block) => loops.has(block),
      isMerge: (block) => merges.has(block),
      mergesUnder: (block) => under.get(block) ?? [],
      predecessors: (block) => predecessors.get(block) ?? [],
      loopOf: (block) => innermost.get(block),
    };
  }
}

function reversePostorder(entry: Block): Block[] {
  const seen = new Set<Block>([entry]);
  const postorder: Block[] = [];
  const stack: { readonly block: Block; readonly rest: Block[] }[] = [{ block: entry, rest: successors(entry.end) }];
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const next = top.rest.pop();
    if (next === undefined) {
      postorder.push(top.block);
      stack.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      stack.push({ block: next, rest: successors(next.end) });
    }
  }
  return postorder.toReversed();
}

/** Immediate dominators by position (Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm"). The entry is its own. */
function dominators(
  order: readonly Block[],
  at: (block: Block) => number,
  predecessors: ReadonlyMap<Block, readonly Block[]>,
): (Block | undefined)[] {
  const dominator: (Block | undefined)[] = order.map(() => undefined);
  dominator[0] = order[0];
  const intersect = (left: Block, right: Block): Block => {
    let [a, b] = [left, right];
    while (a !== b) {
      while (at(a) > at(b)) a = defined(dominator[at(a)], 'a dominator');
      while (at(b) > at(a)) b = defined(dominator[at(b)], 'a dominator');
    }
    return a;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (const [index, block] of order.entries()) {
      if (index === 0) continue;
      let found: Block | undefined;
      for (const from of predecessors.get(block) ?? []) {
        if (dominator[at(from)] === undefined) continue;
        found = found === undefined ? from : intersect(from, found);
      }
      if (found !== undefined && dominator[index] !== found) {
        dominator[index] = found;
        changed = true;
      }
    }
  }
  return dominator;
}

/** Turns edges into the middle of a loop into ways out; says whether there were any. */
function cutIrreducible(
  order: readonly Block[],
  at: (block: Block) => number,
  dominates: (above: Block, below: Block) => boolean,
): boolean {
  let cut = false;
  for (const block of order) {
    const keep = (target: Target): Target => {
      if (target.kind === 'outside' || at(target.block) > at(block) || dominates(target.block, block)) return target;
      cut = true;
      return { kind: 'outside', offset: target.block.start };
    };
    const { end } = block;
    if (end.kind === 'branch') block.end = { ...end, taken: keep(end.taken), otherwise: keep(end.otherwise) };
    else if (end.kind === 'next' || end.kind === 'jump') block.end = { ...end, to: keep(end.to) };
    else if (end.kind === 'call') block.end = { ...end, back: keep(end.back) };
  }
  return cut;
}

/** The innermost loop of each block: natural loops, inner ones overwriting outer ones. */
function innermostLoops(
  order: readonly Block[],
  at: (block: Block) => number,
  predecessors: ReadonlyMap<Block, readonly Block[]>,
  loops: ReadonlySet<Block>,
): Map<Block, Block> {
  const innermost = new Map<Block, Block>();
  for (const header of order) {
    if (!loops.has(header)) continue;
    const members = new Set<Block>([header]);
    const queue = (predecessors.get(header) ?? []).filter((from) => at(from) >= at(header));
    for (let block = queue.pop(); block; block = queue.pop()) {
      if (members.has(block)) continue;
      members.add(block);
      queue.push(...(predecessors.get(block) ?? []));
    }
    for (const member of members) innermost.set(member, header);
  }
  return innermost;
}
