/**
 * Which guest registers live in locals of a region's function, and when.
 *
 *  - *dirty*: written since they were last stored to the hart's state. Every way out stores what may be dirty there.
 *  - *live*: read before it is written on some way from here; storing what is dirty counts as reading it. What is live where a region is
 *    entered, or where a call comes back, is loaded there; so a local always has the right value where it is read or stored.
 *
 * Sets of registers are pairs of 32-bit masks: x1 to x31 and f0 to f31.
 */

import { defined } from '../../base/assert.ts';
import type { Decoded } from '../../isa/instruction.ts';
import { shapeOf } from '../shape.ts';
import type { Block } from './region.ts';
import { type Structure } from './structure.ts';

export interface RegisterSet {
  readonly x: number;
  readonly f: number;
}

export const NONE: RegisterSet = { x: 0, f: 0 };
export const union = (a: RegisterSet, b: RegisterSet): RegisterSet => ({ x: a.x | b.x, f: a.f | b.f });
export const without = (a: RegisterSet, b: RegisterSet): RegisterSet => ({ x: a.x & ~b.x, f: a.f & ~b.f });
export const both = (a: RegisterSet, b: RegisterSet): RegisterSet => ({ x: a.x & b.x, f: a.f & b.f });
const same = (a: RegisterSet, b: RegisterSet): boolean => a.x === b.x && a.f === b.f;

/** One register: of the integer or the float file. */
export interface Register {
  readonly file: 'x' | 'f';
  readonly number: number;
}

export function registersOf(set: RegisterSet): Register[] {
  const found: Register[] = [];
  for (let rest = set.x; rest !== 0; rest &= rest - 1)
    found.push(defined(REGISTERS.x[31 - Math.clz32(rest & -rest)], 'a register'));
  for (let rest = set.f; rest !== 0; rest &= rest - 1)
    found.push(defined(REGISTERS.f[31 - Math.clz32(rest & -rest)], 'a register'));
  return found;
}

const REGISTERS = {
  x: Array.from({ length: 32 }, (_, number): Register => ({ file: 'x', number })),
  f: Array.from({ length: 32 }, (_, number): Register => ({ file: 'f', number })),
};

const one = (file: 'x' | 'f', number: number): RegisterSet =>
  file === 'f' ? { x: 0, f: 1 << number } : { x: (1 << number) & ~1, f: 0 };

/** What an instruction reads and writes. x0 is in neither. */
interface Uses {
  readonly reads: RegisterSet;
  readonly writes: RegisterSet;
}

const known = new WeakMap<Decoded, Uses>();

export function usesOf(decoded: Decoded): Uses {
  const uses = known.get(decoded) ?? findUses(decoded);
  known.set(decoded, uses);
  return uses;
}

function findUses(decoded: Decoded): Uses {
  const shape = shapeOf(decoded.instruction);
  let reads = NONE;
  if (shape.hasRs1) reads = union(reads, one(shape.floatRs1 ? 'f' : 'x', decoded.rs1));
  if (shape.hasRs2) reads = union(reads, one(shape.floatRs2 ? 'f' : 'x', decoded.rs2));
  if (shape.hasRs3) reads = union(reads, one('f', decoded.rs3));
  const writes = shape.hasRd ? one(shape.floatRd ? 'f' : 'x', decoded.rd) : NONE;
  return { reads, writes };
}

export interface Flow {
  /** What may be dirty where the block begins. */
  dirtyIn(block: Block): RegisterSet;
  /** What is live where the block begins. */
  liveIn(block: Block): RegisterSet;
}

export function flowOf({ order, predecessors }: Structure): Flow {
  const writes = new Map(order.map((block) => [block, writtenBy(block)]));
  const dirtyIn = new Map<Block, RegisterSet>(order.map((block) => [block, NONE]));
  const get = (map: ReadonlyMap<Block, RegisterSet>, block: Block): RegisterSet => defined(map.get(block), 'a set');
  /** Nothing is dirty behind a call: everything was stored before it. */
  const dirtyOut = (block: Block): RegisterSet =>
    block.end.kind === 'call' ? NONE : union(get(dirtyIn, block), get(writes, block));
  settle(order, (block) => {
    let dirty = NONE;
    for (const from of predecessors(block)) dirty = union(dirty, dirtyOut(from));
    if (same(dirty, get(dirtyIn, block))) return false;
    dirtyIn.set(block, dirty);
    return true;
  });
  const liveIn = new Map<Block, RegisterSet>(order.map((block) => [block, NONE]));
  const backwards = order.toReversed();
  settle(backwards, (block) => {
    const live = liveBefore(block, get(dirtyIn, block), (next) => get(liveIn, next));
    if (same(live, get(liveIn, block))) return false;
    liveIn.set(block, live);
    return true;
  });
  return { dirtyIn: (block) => get(dirtyIn, block), liveIn: (block) => get(liveIn, block) };
}

/** Runs `step` over the blocks until it changes nothing any more. */
function settle(blocks: readonly Block[], step: (block: Block) => boolean): void {
  for (let changed = true; changed;) {
    changed = false;
    for (const block of blocks) if (step(block)) changed = true;
  }
}

function writtenBy(block: Block): RegisterSet {
  let written = NONE;
  for (const { decoded } of block.ops) written = union(written, usesOf(decoded).writes);
  return written;
}

function liveBefore(block: Block, dirtyIn: RegisterSet, liveInOf: (block: Block) => RegisterSet): RegisterSet {
  const { ops, end } = block;
  // What may be dirty before each op, in case the op is a way out.
  const dirty: RegisterSet[] = [];
  let sofar = dirtyIn;
  for (const { decoded } of ops) {
    dirty.push(sofar);
    sofar = union(sofar, usesOf(decoded).writes);
  }
  // All ends but a step to the only next block store what is dirty, on one of their ways at least.
  let live = sofar;
  const targets = end.kind === 'branch' ? [end.taken, end.otherwise] : end.kind === 'next' || end.kind === 'jump' ? [end.to] : [];
  for (const target of targets) if (target.kind === 'block') live = union(live, liveInOf(target.block));
  for (let index = ops.length - 1; index >= 0; index--) {
    const { decoded } = defined(ops[index], 'an op');
    const { reads, writes } = usesOf(decoded);
    live = union(without(live, writes), reads);
    if (shapeOf(decoded.instruction).mayLeave) live = union(live, defined(dirty[index], 'a set'));
  }
  return live;
}
