/**
 * From a region's flow graph to the shape that WebAssembly's structured control can say (Ramsey, "Beyond Relooper", ICFP 2022): blocks in
 * reverse postorder, the dominator tree, which blocks begin loops and which have several ways in. An edge that no such shape has (into
 * the middle of a loop) becomes a way out of the region: the block it goes to is then entered anew.
 */

import { defined } from '../../base/assert.ts';
import { type Block, type Region, mapTargets, successors } from './region.ts';

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
  /** The blocks of the loop that begins with `header`, inner loops' included. */
  membersOf(header: Block): readonly Block[];
}

/**
 * `copies` is asked which loops are to have room for a second copy: those that a straight path of blocks leads round. What both copies go on to
 * is then a merge under the loop's first block, whichever of the path dominates it.
 */
export function structureOf(region: Region, copies: (path: readonly Block[]) => boolean = () => false): Structure {
  for (;;) {
    const graph = graphOf(region);
    const { order, positions, predecessors } = graph;
    const dominator = dominators(graph);
    if (cutIrreducible(graph, dominator)) continue;
    const loops: boolean[] = [];
    const merges: boolean[] = [];
    for (let at = order.length - 1; at >= 0; at--) {
      let forward = 0;
      let isLoop = false;
      for (const from of predecessors[at] ?? []) {
        if (from < at) forward++;
        else isLoop = true;
      }
      loops[at] = isLoop;
      merges[at] = forward > 1;
    }
    const { innermost, members } = naturalLoops(graph, loops);
    // By position: the first block of the loop of two copies that the block is in.
    const copied = new Int32Array(order.length).fill(-1);
    for (const header of members.keys()) {
      const path = straightPath(graph, innermost, header);
      if (path.length === 0 || !copies(path)) continue;
      for (const { number } of path) copied[positions[number] ?? -1] = header;
    }
    const under: Block[][] = order.map(() => []);
    for (let at = order.length - 1; at > 0; at--) {
      let above = dominator[at] ?? 0;
      const header = copied[above] ?? -1;
      if (header !== -1 && copied[at] !== header) {
        merges[at] = true;
        above = header;
      }
      if (merges[at] === true) defined(under[above], 'a dominator').push(defined(order[at], 'a block'));
    }
    const before = predecessors.map((list) => list.map((from) => defined(order[from], 'a block')));
    const position = (block: Block): number => positions[block.number] ?? -1;
    return {
      order,
      position,
      isLoop: (block) => loops[position(block)] === true,
      isMerge: (block) => merges[position(block)] === true,
      mergesUnder: (block) => under[position(block)] ?? [],
      predecessors: (block) => before[position(block)] ?? [],
      loopOf: (block) => order[innermost[position(block)] ?? -1],
      membersOf: (header) => members.get(position(header)) ?? [],
    };
  }
}

/** The blocks that can be reached, known by their positions in reverse postorder. */
interface Graph {
  readonly order: readonly Block[];
  /** Positions by number of the block; -1 where there is none. */
  readonly positions: Int32Array;
  /** By position, one entry an edge. */
  readonly predecessors: readonly (readonly number[])[];
}

function graphOf(region: Region): Graph {
  const order = reversePostorder(region);
  const positions = new Int32Array(region.blocks.length).fill(-1);
  for (let at = 0; at < order.length; at++) positions[defined(order[at], 'a block').number] = at;
  const predecessors: number[][] = order.map(() => []);
  for (let at = 0; at < order.length; at++) {
    for (const next of successors(defined(order[at], 'a block').end))
      defined(predecessors[positions[next.number] ?? -1], 'a reachable block').push(at);
  }
  return { order, positions, predecessors };
}

function reversePostorder({ entry, blocks }: Region): Block[] {
  const seen = new Uint8Array(blocks.length);
  seen[entry.number] = 1;
  const postorder: Block[] = [];
  const stack = [entry];
  /** What is left to visit of each block on the stack. */
  const rests = [successors(entry.end).slice()];
  while (stack.length > 0) {
    const next = rests.at(-1)?.pop();
    if (next === undefined) {
      postorder.push(defined(stack.pop(), 'a block'));
      rests.pop();
    } else if (seen[next.number] === 0) {
      seen[next.number] = 1;
      stack.push(next);
      rests.push(successors(next.end).slice());
    }
  }
  return postorder.toReversed();
}

/** Immediate dominators, all by position (Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm"). The entry is its own. */
function dominators({ order, predecessors }: Graph): Int32Array {
  const dominator = new Int32Array(order.length).fill(-1);
  dominator[0] = 0;
  for (let changed = true; changed;) {
    changed = false;
    for (let at = 1; at < order.length; at++) {
      let found = -1;
      for (const from of predecessors[at] ?? []) {
        if (dominator[from] === -1) continue;
        found = found === -1 ? from : commonDominator(dominator, from, found);
      }
      if (found === -1 || dominator[at] === found) continue;
      dominator[at] = found;
      changed = true;
    }
  }
  return dominator;
}

function commonDominator(dominator: Int32Array, left: number, right: number): number {
  let [a, b] = [left, right];
  while (a !== b) {
    while (a > b) a = dominator[a] ?? 0;
    while (b > a) b = dominator[b] ?? 0;
  }
  return a;
}

/** Turns edges into the middle of a loop into ways out; says whether there were any. */
function cutIrreducible({ order, positions, predecessors }: Graph, dominator: Int32Array): boolean {
  /** Whether the edge between these positions goes back, and not to a loop's first block. */
  const isBad = (from: number, to: number): boolean => to <= from && commonDominator(dominator, from, to) !== to;
  let cut = false;
  for (const [to, froms] of predecessors.entries()) {
    for (const from of froms) {
      if (!isBad(from, to)) continue;
      cut = true;
      const block = defined(order[from], 'a block');
      block.end = mapTargets(block.end, (target) =>
        target.kind === 'block' && isBad(from, positions[target.block.number] ?? -1)
          ? { kind: 'outside', offset: target.block.start }
          : target,
      );
    }
  }
  return cut;
}

/**
 * The blocks on the way round the loop that begins at position `header`, each with only one way in: empty if there is none, or a choice.
 * An outer loop that begins with the same block is not looked at: the way that leads to `header` at once is the inner one's, or by falling
 * through or jumping backward where others jump forward, as they do into the middle of a loop.
 */
function straightPath(
  { order, positions, predecessors }: Graph,
  innermost: Int32Array,
  header: number,
): readonly Block[] {
  const first = defined(order[header], 'a block');
  /** The ways from behind `block` to the loop's first. */
  const waysFrom = (block: Block): Block[][] => {
    if (block.end.kind === 'call') return [];
    const inside = successors(block.end).filter(({ number }) => innermost[positions[number] ?? -1] === header);
    if (inside.includes(first)) return block === first || !jumpsForward(block, first) ? [[block]] : [];
    return inside
      .filter(({ number }) => predecessors[positions[number] ?? -1]?.length === 1)
      .flatMap((next) => waysFrom(next).map((way) => [block, ...way]));
  };
  const [way, ...others] = waysFrom(first);
  return way && others.length === 0 ? way : [];
}

/** Whether `block` gets to `target` by a jump to what is behind it. */
function jumpsForward({ end, ops }: Block, target: Block): boolean {
  const last = ops.at(-1);
  if (end.kind === 'next' || last === undefined) return false;
  return target.start > last.offset && target.start !== last.offset + last.decoded.lengthBytes;
}

interface Loops {
  /** By position of a block: that of the first block of the innermost loop around it, or -1. */
  readonly innermost: Int32Array;
  /** By position of a loop's first block. */
  readonly members: ReadonlyMap<number, readonly Block[]>;
}

/** Natural loops; those that begin later are inner ones, or lie apart. */
function naturalLoops({ order, predecessors }: Graph, loops: readonly boolean[]): Loops {
  const innermost = new Int32Array(order.length).fill(-1);
  const members = new Map<number, readonly Block[]>();
  for (let header = 0; header < order.length; header++) {
    if (loops[header] !== true) continue;
    innermost[header] = header;
    const found = [defined(order[header], 'a block')];
    const queue = (predecessors[header] ?? []).filter((from) => from >= header);
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      if (innermost[at] === header) continue;
      innermost[at] = header;
      found.push(defined(order[at], 'a block'));
      queue.push(...(predecessors[at] ?? []));
    }
    members.set(header, found);
  }
  return { innermost, members };
}
