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
}

/** Where control goes on: a block of the region, or an address outside. */
export type Target =
  { readonly kind: 'block'; readonly block: Block } | { readonly kind: 'outside'; readonly offset: number };

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

/** The region at `entry`, or undefined when nothing there can be compiled. */
export function discover(view: CodeView, entry: number, maxOps = MAX_REGION_OPS): Region | undefined {
  const scanned = new Map<number, Scanned>();
  const leaders = new Set<number>([entry]);
  const queue = [entry];
  /** Whether a region may go on at `offset`; if it may, it will. */
  const visit = (offset: number): void => {
    if (leaders.has(offset)) return;
    if (scanned.has(offset)) {
      leaders.add(offset);
      return;
    }
    if (!isVisible(view, offset) || !view.isWarm(offset)) return;
    leaders.add(offset);
    queue.push(offset);
  };
  for (let start = queue.shift(); start !== undefined; start = queue.shift()) {
    for (let at: number | undefined = start; at !== undefined;) {
      if (at !== start && leaders.has(at)) break;
      if (scanned.has(at)) {
        leaders.add(at);
        break;
      }
      if (scanned.size >= maxOps) break;
      const op = read(view, at);
      if (op === undefined) break;
      const ends = endOf(op.decoded);
      scanned.set(at, { op, ends });
      const next: number = at + op.decoded.lengthBytes;
      if (ends === undefined) {
        // Where the next page begins, and around an instruction that straddles two, the mapping has to be looked at.
        if (pageOf(next) !== pageOf(at) || pageOf(next + 2) !== pageOf(next)) {
          visit(next);
          break;
        }
        at = next;
        continue;
      }
      if (ends === 'branch' || ends === 'jump') visit(at + op.decoded.imm);
      if (ends === 'branch' || ends === 'call') visit(next);
      at = undefined;
    }
  }
  return build(scanned, leaders, entry);
}

function isVisible(view: CodeView, offset: number): boolean {
  return Math.abs(pageOf(offset)) <= NEIGHBOURS && view.half(offset) !== undefined;
}

/** The instruction at `offset`, unless it is illegal or cannot be seen whole. */
function read(view: CodeView, offset: number): Op | undefined {
  if (!isVisible(view, offset)) return undefined;
  const low = defined(view.half(offset), 'code');
  let word = low;
  if ((low & 3) === 3) {
    if (!isVisible(view, offset + 2)) return undefined;
    word = (low | (defined(view.half(offset + 2), 'code') << 16)) >>> 0;
  }
  const decoded = decode(word);
  return decoded && { offset, decoded };
}

function build(
  scanned: ReadonlyMap<number, Scanned>,
  leaders: ReadonlySet<number>,
  entry: number,
): Region | undefined {
  const blocks = new Map<number, Block>();
  const starts = [...leaders].filter((offset) => scanned.has(offset));
  const ranges: [number, number][] = [];
  for (const start of starts) {
    const ops: Op[] = [];
    let at = start;
    let end: Terminator = { kind: 'leave', offset: start };
    for (;;) {
      const found = scanned.get(at);
      if (!found || (at !== start && leaders.has(at))) {
        end = { kind: 'next', to: { kind: 'outside', offset: at } };
        break;
      }
      if (found.ends === 'leave') {
        end = { kind: 'leave', offset: at };
        break;
      }
      ops.push(found.op);
      const next = at + found.op.decoded.lengthBytes;
      if (found.ends !== undefined) {
        end = outsideEnd(found.ends, found.op, next);
        break;
      }
      at = next;
    }
    const last = ops.at(-1);
    const stop = last ? last.offset + last.decoded.lengthBytes : start;
    ranges.push([start, stop]);
    blocks.set(start, {
      number: blocks.size,
      start,
      ops,
      page: ops.length === 1 ? pageOf(stop - 1) : pageOf(start),
      end,
    });
  }
  const first = blocks.get(entry);
  // An entry that straddles two pages, or has nothing to execute, is the interpreter's.
  if (!first || first.ops.length === 0 || first.page !== 0) return undefined;
  for (const block of blocks.values()) block.end = resolved(block.end, blocks);
  let opCount = 0;
  for (const block of blocks.values()) opCount += block.ops.length;
  return { entry: first, blocks: [...blocks.values()], opCount, ranges };
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

/** The same terminator, with targets that are blocks as blocks. */
function resolved(end: Terminator, blocks: ReadonlyMap<number, Block>): Terminator {
  const find = (target: Target): Target => {
    const block = target.kind === 'outside' ? blocks.get(target.offset) : undefined;
    return block && block.ops.length > 0 ? { kind: 'block', block } : target;
  };
  switch (end.kind) {
    case 'next':
    case 'jump':
      return { ...end, to: find(end.to) };
    case 'branch':
      return { ...end, taken: find(end.taken), otherwise: find(end.otherwise) };
    case 'call':
      return { ...end, back: find(end.back) };
    default:
      return end;
  }
}

/** The targets of a terminator that lie in the region. */
export function successors(end: Terminator): Block[] {
  const targets =
    end.kind === 'branch'
      ? [end.taken, end.otherwise]
      : end.kind === 'next' || end.kind === 'jump'
        ? [end.to]
        : end.kind === 'call'
          ? [end.back]
          : [];
  return targets.flatMap((target) => (target.kind === 'block' ? [target.block] : []));
}
