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
import { type Shape, shapeOf } from '../shape.ts';
import { type Block, successors } from './region.ts';
import type { Structure } from './structure.ts';

export interface RegisterSet {
  readonly x: number;
  readonly f: number;
}

export const NONE: RegisterSet = { x: 0, f: 0 };
export const union = (a: RegisterSet, b: RegisterSet): RegisterSet => like(a, a.x | b.x, a.f | b.f);
export const without = (a: RegisterSet, b: RegisterSet): RegisterSet => like(a, a.x & ~b.x, a.f & ~b.f);

/** The set of `x` and `f`, which is often `a` itself. */
function like(a: RegisterSet, x: number, f: number): RegisterSet {
  if (x === a.x && f === a.f) return a;
  return x === 0 && f === 0 ? NONE : { x, f };
}

/** One register: of the integer or the float file. */
export interface Register {
  readonly file: 'x' | 'f';
  readonly number: number;
}

/** Every set of one register: the register in a list, and the set. */
const LISTS_X = Array.from({ length: 32 }, (_, number): readonly Register[] => [{ file: 'x', number }]);
const LISTS_F = Array.from({ length: 32 }, (_, number): readonly Register[] => [{ file: 'f', number }]);
const ONES_X = Array.from({ length: 32 }, (_, number) => (number === 0 ? NONE : { x: 1 << number, f: 0 }));
const ONES_F = Array.from({ length: 32 }, (_, number) => ({ x: 0, f: 1 << number }));
const EMPTY: readonly Register[] = [];

export function registersOf({ x, f }: RegisterSet): readonly Register[] {
  if ((x & (x - 1)) === 0 && f === 0) return x === 0 ? EMPTY : lowest(LISTS_X, x);
  const found: Register[] = [];
  for (let rest = x; rest !== 0; rest &= rest - 1) found.push(defined(lowest(LISTS_X, rest)[0], 'a register'));
  for (let rest = f; rest !== 0; rest &= rest - 1) found.push(defined(lowest(LISTS_F, rest)[0], 'a register'));
  return found;
}

/** The lowest register of `mask`. */
const lowest = (lists: readonly (readonly Register[])[], mask: number): readonly Register[] =>
  defined(lists[31 - Math.clz32(mask & -mask)], 'a register');

const one = (isFloat: boolean, number: number): RegisterSet =>
  defined((isFloat ? ONES_F : ONES_X)[number], 'a register');

/** What an instruction reads and writes. x0 is in neither. */
interface Uses {
  readonly reads: RegisterSet;
  readonly writes: RegisterSet;
}

/** Answers are kept for a while: every instruction of a region is asked about several times. */
const KEPT = 1024;
const askedOf: (Decoded | undefined)[] = Array.from({ length: KEPT });
const answers: (Uses | undefined)[] = Array.from({ length: KEPT });

export function usesOf(decoded: Decoded): Uses {
  const slot = (decoded.imm * 5 + decoded.rd * 64 + decoded.rs1 * 8 + decoded.rs2 * 131) & (KEPT - 1);
  const known = answers[slot];
  if (known !== undefined && askedOf[slot] === decoded) return known;
  const found = findUses(decoded, shapeOf(decoded.instruction));
  askedOf[slot] = decoded;
  answers[slot] = found;
  return found;
}

function findUses({ rd, rs1, rs2, rs3 }: Decoded, shape: Shape): Uses {
  let reads = NONE;
  if (shape.hasRs1) reads = union(reads, one(shape.floatRs1, rs1));
  if (shape.hasRs2) reads = union(reads, one(shape.floatRs2, rs2));
  if (shape.hasRs3) reads = union(reads, one(true, rs3));
  return { reads, writes: shape.hasRd ? one(shape.floatRd, rd) : NONE };
}

export interface Flow {
  /** What may be dirty where the block begins. */
  dirtyIn(block: Block): RegisterSet;
  /** What is live where the block begins. */
  liveIn(block: Block): RegisterSet;
}

export function flowOf(structure: Structure): Flow {
  const { order } = structure;
  // By number of the block. Nothing is dirty behind a call: everything was stored before it.
  const dirtyIn: RegisterSet[] = [];
  const writes: RegisterSet[] = [];
  const liveIn: RegisterSet[] = [];
  for (const block of order) {
    dirtyIn[block.number] = NONE;
    liveIn[block.number] = NONE;
    writes[block.number] = writtenBy(block);
  }
  const get = (sets: readonly RegisterSet[], block: Block): RegisterSet => defined(sets[block.number], 'a set');
  for (let changed = true; changed;) {
    changed = false;
    for (const block of order) {
      const before = get(dirtyIn, block);
      let dirty = before;
      for (const from of structure.predecessors(block)) {
        if (from.end.kind !== 'call') dirty = union(union(dirty, get(dirtyIn, from)), get(writes, from));
      }
      if (dirty === before) continue;
      dirtyIn[block.number] = dirty;
      changed = true;
    }
  }
  const own = order.map((block) => liveBefore(block, get(dirtyIn, block)));
  for (let changed = true; changed;) {
    changed = false;
    for (let index = order.length - 1; index >= 0; index--) {
      const block = defined(order[index], 'a block');
      const before = get(liveIn, block);
      let live = union(before, defined(own[index], 'a set'));
      // A call loads what is live behind it.
      if (block.end.kind !== 'call') {
        for (const next of successors(block.end)) live = union(live, without(get(liveIn, next), get(writes, block)));
      }
      if (live === before) continue;
      liveIn[block.number] = live;
      changed = true;
    }
  }
  return { dirtyIn: (block) => get(dirtyIn, block), liveIn: (block) => get(liveIn, block) };
}

function writtenBy({ ops }: Block): RegisterSet {
  let written = NONE;
  for (const { decoded } of ops) written = union(written, usesOf(decoded).writes);
  return written;
}

/** What the block itself reads before it has written it: what is dirty counts at every way out, and at the end. */
function liveBefore({ ops }: Block, dirtyIn: RegisterSet): RegisterSet {
  let live = NONE;
  let written = NONE;
  for (const { decoded } of ops) {
    const { reads, writes } = usesOf(decoded);
    live = union(live, without(reads, written));
    if (shapeOf(decoded.instruction).mayLeave) live = union(live, without(dirtyIn, written));
    written = union(written, writes);
  }
  // All ends but a step to the only next block store what is dirty, on one of their ways at least.
  return union(live, without(dirtyIn, written));
}
