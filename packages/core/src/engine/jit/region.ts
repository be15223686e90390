/**
 * What is compiled together: a *region*, the basic blocks that can be reached from one entry by branches, jumps and falling through, calls
 * being steps on the way and not a way out. It lies in the entry's page and, where these are mapped behind or before it, its neighbours.
 *
 *     entry ──> run of instructions ──┬─ branch ──> two targets      ─┐ a target is a block of the region, or an address outside
 *                                     ├─ call ────> comes back here   │ (never executed, beyond the limits, in a page that
 *                                     └─ return, indirect, system     ┘ cannot be seen)
 *
 * Offsets are bytes from the start of the entry's page; those of neighbours are negative or 4096 and more.
 */

import { assert, defined } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { decode } from '../../isa/decode.ts';
import type { Decoded } from '../../isa/instruction.ts';
import { isNeverInline } from './inline.ts';

/** Instructions of one region at most: what the host's compiler does well as one function. */
export const MAX_REGION_OPS = 256;
/** Pages before and behind the entry's that a region may reach into. */
const NEIGHBOURS = 1;

/** Code memory as discovery sees it. */
export interface CodeView {
  /** The halfword at `offset`, or undefined where the page cannot be seen. */
  half(offset: number): number | undefined;
  /** Whether the code at `offset` is worth compiling: executed before, as far as one can tell. */
  isWarm(offset: number): boolean;
}

export interface Op {
  readonly offset: number;
  readonly decoded: Decoded;
  /** The instruction as it was read. */
  readonly word: number;
}

/** Where control goes on: a block of the region, or an address outside. */
export type Target =
  | { readonly kind: 'block'; readonly block: Block }
  | { readonly kind: 'outside'; readonly offset: number };

/** How a block ends. The instruction that ends it is its last op, except for `next` and `leave`. */
export type Terminator =
  | { readonly kind: 'next'; readonly to: Target }
  | { readonly kind: 'branch'; readonly taken: Target; readonly otherwise: Target }
  | { readonly kind: 'jump'; readonly to: Target }
  /** A jump that leaves a return address; `callee` is undefined when a register holds it. */
  | { readonly kind: 'call'; readonly callee: number | undefined; readonly back: Target }
  | { readonly kind: 'return' }
  | { readonly kind: 'indirect' }
  /** The interpreter does the instruction at `offset`. */
  | { readonly kind: 'leave'; readonly offset: number };

export interface Block {
  readonly number: number;
  readonly start: number;
  readonly ops: readonly Op[];
  /** The page, relative to the entry's, that must be mapped for this block; the last one if an instruction straddles two. */
  readonly page: number;
  end: Terminator;
}

export interface Region {
  readonly entry: Block;
  readonly blocks: readonly Block[];
  readonly opCount: number;
  /** [first, end) byte ranges of the instructions, relative to the entry's page. */
  readonly ranges: readonly (readonly [number, number])[];
}

type EndKind = Terminator['kind'];

interface Scanned {
  readonly op: Op;
  readonly ends: EndKind | undefined;
}

const isLink = (register: number): boolean => register === 1 || register === 5;

/** How `op` ends a block, if it does (Unprivileged ISA, 2.5.1: which jalr is a call, which a return). */
function endOf(decoded: Decoded): EndKind | undefined {
  const { instruction, rd, rs1 } = decoded;
  if (isNeverInline(decoded)) return 'leave';
  switch (instruction.flow) {
    case 'branch':
      return 'branch';
    case 'jump':
      return isLink(rd) ? 'call' : 'jump';
    case 'indirect':
      if (isLink(rd)) return 'call';
      return isLink(rs1) ? 'return' : 'indirect';
    case 'system':
      return instruction.extension === 'Zicsr' ? undefined : 'leave';
    default:
      return undefined;
  }
}

const pageOf = (offset: number): number => Math.floor(offset / PAGE_SIZE);

/** Offsets that a region may reach into: its instructions begin in [-REACH, PAGE_SIZE + REACH). */
const REACH = NEIGHBOURS * PAGE_SIZE;
/** The halfwords within reach are numbered. */
const slotOf = (offset: number): number => (offset + REACH) >> 1;
const SLOTS = (PAGE_SIZE + 2 * REACH) / 2;
const isWithinReach = (offset: number): boolean => offset >= -REACH && offset < PAGE_SIZE + REACH;

/** What discovery knows so far. */
class Scan {
  readonly #view: CodeView;
  readonly #scanned: Scanned[] = [];
  /** By slot: one more than the position in `#scanned`, or 0. */
  readonly #positions = new Uint16Array(SLOTS);
  readonly #isLeader = new Uint8Array(SLOTS);
  /** Offsets where blocks begin, in the order they were found. */
  readonly leaders: number[] = [];
  readonly queue: number[] = [];

  constructor(view: CodeView) {
    this.#view = view;
  }

  at(offset: number): Scanned | undefined {
    return isWithinReach(offset) ? this.#scanned[(this.#positions[slotOf(offset)] ?? 0) - 1] : undefined;
  }

  isLeader(offset: number): boolean {
    return isWithinReach(offset) && this.#isLeader[slotOf(offset)] === 1;
  }

  lead(offset: number): void {
    this.#isLeader[slotOf(offset)] = 1;
    this.leaders.push(offset);
  }

  /** Lets the region go on at `offset`, if it may. */
  visit(offset: number): void {
    if (!isWithinReach(offset) || this.isLeader(offset)) return;
    if (this.at(offset) === undefined) {
      if (this.#view.half(offset) === undefined || !this.#view.isWarm(offset)) return;
      this.queue.push(offset);
    }
    this.lead(offset);
  }

  /** The straight run of instructions from `start` on. */
  run(start: number, maxOps: number): void {
    for (let at = start; at === start || !this.isLeader(at);) {
      if (this.at(at) !== undefined) {
        this.lead(at);
        return;
      }
      if (this.#scanned.length >= maxOps) return;
      const op = read(this.#view, at);
      if (op === undefined) return;
      const ends = endOf(op.decoded);
      this.#positions[slotOf(at)] = this.#scanned.push({ op, ends });
      const next = at + op.decoded.lengthBytes;
      if (ends !== undefined) {
        if (ends === 'branch' || ends === 'jump') this.visit(at + op.decoded.imm);
        if (ends === 'branch' || ends === 'call') this.visit(next);
        return;
      }
      // Where the next page begins, and around an instruction that straddles two, the mapping has to be looked at.
      if (pageOf(next) !== pageOf(at) || pageOf(next + 2) !== pageOf(next)) {
        this.visit(next);
        return;
      }
      at = next;
    }
  }
}

/** The region at `entry`, or undefined when nothing there can be compiled. */
export function discover(view: CodeView, entry: number, maxOps = MAX_REGION_OPS): Region | undefined {
  const scan = new Scan(view);
  scan.lead(entry);
  scan.run(entry, maxOps);
  for (let next = 0; next < scan.queue.length; next++) scan.run(defined(scan.queue[next], 'an offset'), maxOps);
  return build(scan, entry);
}

/** The instruction at `offset`, unless it is illegal, cannot be seen whole, or straddles pages that are not both looked at. */
function read(view: CodeView, offset: number): Op | undefined {
  const low = isWithinReach(offset) ? view.half(offset) : undefined;
  if (low === undefined) return undefined;
  let word = low;
  if ((low & 3) === 3) {
    // A block says one page: what straddles two is let in only where the first is the entry's, which is always mapped.
    if (pageOf(offset + 2) !== pageOf(offset) && pageOf(offset) !== 0) return undefined;
    const high = isWithinReach(offset + 2) ? view.half(offset + 2) : undefined;
    if (high === undefined) return undefined;
    word = (low | (high << 16)) >>> 0;
  }
  const decoded = decode(word);
  return decoded && { offset, decoded, word };
}

function build(scan: Scan, entry: number): Region | undefined {
  const blocks: Block[] = [];
  const byStart = new Map<number, Block>();
  const ranges: [number, number][] = [];
  let opCount = 0;
  for (const start of scan.leaders) {
    if (scan.at(start) === undefined) continue;
    const block = buildBlock(scan, start, blocks.length);
    const last = block.ops.at(-1);
    ranges.push([start, last ? last.offset + last.decoded.lengthBytes : start]);
    blocks.push(block);
    byStart.set(start, block);
    opCount += block.ops.length;
  }
  const first = byStart.get(entry);
  // An entry that straddles two pages, or has nothing to execute, is the interpreter's.
  if (!first || first.ops.length === 0 || first.page !== 0) return undefined;
  const resolve = (target: Target): Target => {
    const block = target.kind === 'outside' ? byStart.get(target.offset) : undefined;
    return block && block.ops.length > 0 ? { kind: 'block', block } : target;
  };
  for (const block of blocks) block.end = mapTargets(block.end, resolve);
  return { entry: first, blocks, opCount, ranges };
}

/** The block that begins at `start`; all its targets are outside still. */
function buildBlock(scan: Scan, start: number, number: number): Block {
  const ops: Op[] = [];
  let at = start;
  for (;;) {
    const found = scan.at(at);
    if (!found || (at !== start && scan.isLeader(at))) {
      return blockOf(number, start, ops, at, { kind: 'next', to: { kind: 'outside', offset: at } });
    }
    if (found.ends === 'leave') return blockOf(number, start, ops, at, { kind: 'leave', offset: at });
    ops.push(found.op);
    at += found.op.decoded.lengthBytes;
    if (found.ends !== undefined) return blockOf(number, start, ops, at, outsideEnd(found.ends, found.op, at));
  }
}

function blockOf(number: number, start: number, ops: readonly Op[], stop: number, end: Terminator): Block {
  return { number, start, ops, page: ops.length === 1 ? pageOf(stop - 1) : pageOf(start), end };
}

function outsideEnd(kind: EndKind, { offset, decoded }: Op, next: number): Terminator {
  const outside = (at: number): Target => ({ kind: 'outside', offset: at });
  switch (kind) {
    case 'branch':
      return { kind, taken: outside(offset + decoded.imm), otherwise: outside(next) };
    case 'jump':
      return { kind, to: outside(offset + decoded.imm) };
    case 'call':
      return {
        kind,
        callee: decoded.instruction.flow === 'jump' ? offset + decoded.imm : undefined,
        back: outside(next),
      };
    case 'return':
    case 'indirect':
      return { kind };
    default:
      assert(false, `an instruction does not end a block with ${kind}`);
  }
}

/** The same terminator with other targets. */
export function mapTargets(end: Terminator, map: (target: Target) => Target): Terminator {
  switch (end.kind) {
    case 'next':
    case 'jump':
      return { kind: end.kind, to: map(end.to) };
    case 'branch':
      return { kind: 'branch', taken: map(end.taken), otherwise: map(end.otherwise) };
    case 'call':
      return { kind: 'call', callee: end.callee, back: map(end.back) };
    default:
      return end;
  }
}

const NO_BLOCKS: readonly Block[] = [];

/** The targets of a terminator that lie in the region. */
export function successors(end: Terminator): readonly Block[] {
  switch (end.kind) {
    case 'next':
    case 'jump':
      return end.to.kind === 'block' ? [end.to.block] : NO_BLOCKS;
    case 'call':
      return end.back.kind === 'block' ? [end.back.block] : NO_BLOCKS;
    case 'branch': {
      const { taken, otherwise } = end;
      if (taken.kind !== 'block') return otherwise.kind === 'block' ? [otherwise.block] : NO_BLOCKS;
      return otherwise.kind === 'block' ? [taken.block, otherwise.block] : [taken.block];
    }
    default:
      return NO_BLOCKS;
  }
}
