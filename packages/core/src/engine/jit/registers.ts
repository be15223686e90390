/**
 * Which guest registers live in locals of a region's function, and when.
 *
 *  - *dirty*: written since they were last stored to the hart's state. Every way out stores what may be dirty there.
 *  - *carried* round a loop: written in it, and read in its next round. Only these may be dirty where a loop begins. What was dirty before the
 *    loop is stored on the way into it, and what the loop writes for one round only is stored where it is written: else the host's compiler
 *    would have to keep each of these for the ways out, and has too few registers for that.
 *  - *live*: read before it is written on some way from here; storing what is dirty counts as reading it. What is live where a region is
 *    entered, or where a call comes back, is loaded there; so a local always has the right value where it is read or stored.
 *
 * Sets of registers are pairs of 32-bit masks: x1 to x31 and f0 to f31.
 */

import { defined } from '../../base/assert.ts';
import type { Decoded } from '../../isa/instruction.ts';
import { type Shape, shapeOf } from '../shape.ts';
import { type Block, type Op, type Region, successors } from './region.ts';
import type { Structure } from './structure.ts';

export interface RegisterSet {
  readonly x: number;
  readonly f: number;
}

export const NONE: RegisterSet = { x: 0, f: 0 };
export const union = (a: RegisterSet, b: RegisterSet): RegisterSet => like(a, a.x | b.x, a.f | b.f);
const both = (a: RegisterSet, b: RegisterSet): RegisterSet => like(a, a.x & b.x, a.f & b.f);
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
  /** What is stored where the block writes it, and is not dirty because of that. */
  stored(block: Block): RegisterSet;
  /** What may stay dirty on the way to the first block of a loop. */
  carried(header: Block): RegisterSet;
}

export function flowOf(structure: Structure): Flow {
  const { order } = structure;
  const get = (sets: readonly RegisterSet[], block: Block): RegisterSet => defined(sets[block.number], 'a set');
  // By number of the block.
  const writes: RegisterSet[] = [];
  for (const block of order) writes[block.number] = writtenBy(block);
  const needed = liveSets(order, writes, (block) => liveBefore(block, NONE));
  const carried: RegisterSet[] = [];
  for (const header of order) {
    if (!structure.isLoop(header)) continue;
    let written = NONE;
    for (const block of structure.membersOf(header)) written = union(written, get(writes, block));
    carried[header.number] = both(written, get(needed, header));
  }
  const stored: RegisterSet[] = [];
  for (const block of order) {
    const header = structure.loopOf(block);
    stored[block.number] = header ? without(get(writes, block), get(needed, header)) : NONE;
  }
  const dirtyIn = dirtySets(structure, writes, stored, carried);
  const liveIn = liveSets(order, writes, (block) => liveBefore(block, get(dirtyIn, block)));
  return {
    dirtyIn: (block) => get(dirtyIn, block),
    liveIn: (block) => get(liveIn, block),
    stored: (block) => get(stored, block),
    carried: (header) => get(carried, header),
  };
}

/** Nothing is dirty behind a call: everything was stored before it. */
function dirtySets(
  structure: Structure,
  writes: readonly RegisterSet[],
  stored: readonly RegisterSet[],
  carried: readonly RegisterSet[],
): RegisterSet[] {
  const { order } = structure;
  const dirtyIn: RegisterSet[] = [];
  for (const block of order) dirtyIn[block.number] = NONE;
  for (let changed = true; changed;) {
    changed = false;
    for (const block of order) {
      const before = dirtyIn[block.number] ?? NONE;
      let dirty = before;
      for (const { number, end } of structure.predecessors(block)) {
        if (end.kind === 'call') continue;
        const written = union(dirtyIn[number] ?? NONE, writes[number] ?? NONE);
        dirty = union(dirty, without(written, stored[number] ?? NONE));
      }
      if (structure.isLoop(block)) dirty = both(dirty, carried[block.number] ?? NONE);
      if (dirty === before || (dirty.x === before.x && dirty.f === before.f)) continue;
      dirtyIn[block.number] = dirty;
      changed = true;
    }
  }
  return dirtyIn;
}

/** What is live where each block begins; `own` is what a block itself reads. */
function liveSets(
  order: readonly Block[],
  writes: readonly RegisterSet[],
  own: (block: Block) => RegisterSet,
): RegisterSet[] {
  const liveIn: RegisterSet[] = [];
  for (const block of order) liveIn[block.number] = own(block);
  for (let changed = true; changed;) {
    changed = false;
    for (let index = order.length - 1; index >= 0; index--) {
      const block = defined(order[index], 'a block');
      // A call loads what is live behind it.
      if (block.end.kind === 'call') continue;
      const before = liveIn[block.number] ?? NONE;
      let live = before;
      for (const next of successors(block.end))
        live = union(live, without(liveIn[next.number] ?? NONE, writes[block.number] ?? NONE));
      if (live === before) continue;
      liveIn[block.number] = live;
      changed = true;
    }
  }
  return liveIn;
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

/** Every register that the region reads or writes. */
export function usedIn(region: Region): RegisterSet {
  let used = NONE;
  for (const { ops } of region.blocks) {
    for (const { decoded } of ops) {
      const { reads, writes } = usesOf(decoded);
      used = union(used, union(reads, writes));
    }
  }
  return used;
}

/** The registers that `ops` make dirty, in the order of their first writes; those in `stored` do not become so. */
export function freshlyDirty(ops: readonly Op[], dirtyIn: RegisterSet, stored: RegisterSet): Register[] {
  const fresh: Register[] = [];
  let dirty = union(dirtyIn, stored);
  for (const { decoded } of ops) {
    const { writes } = usesOf(decoded);
    fresh.push(...registersOf(without(writes, dirty)));
    dirty = union(dirty, writes);
  }
  return fresh;
}

/** Whether what the op at `index` writes to `register` is overwritten within the block before anybody could leave with it. */
export function isWrittenAgain(ops: readonly Op[], index: number, register: Register): boolean {
  for (let next = index + 1; next < ops.length; next++) {
    const { decoded } = defined(ops[next], 'an op');
    if (shapeOf(decoded.instruction).mayLeave) return false;
    if (has(usesOf(decoded).writes, register)) return true;
  }
  return false;
}

export const has = ({ x, f }: RegisterSet, { file, number }: Register): boolean =>
  (((file === 'x' ? x : f) >>> number) & 1) === 1;

export function sameRegister(a: Register | undefined, b: Register): boolean {
  return a?.file === b.file && a.number === b.number;
}
