/**
 * Loops that go through memory in even steps: an array summed, a string copied, a table filled. Of such a loop there is a second copy, whose
 * rounds are counted before they begin: so many that each access through an evenly moving base register stays in the page it is in, and the
 * budget is kept. Neither is looked at again within them.
 *
 *     slow rounds ── a few went by ──> how many rounds are sure? ── many ──> quick rounds ── all done, or the loop's end
 *          ^                                   └─ too few                        │
 *          └──────────────────────────────────────┴──────────────────────────────┘
 */

import type { Decoded } from '../../isa/instruction.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { TLB_WRITE } from '../layout.ts';
import { shapeOf } from '../shape.ts';
import { accessOf } from './access-group.ts';
import { usesFloat } from './inline.ts';
import { narrowIn } from './narrow-results.ts';
import type { Block, Op } from './region.ts';
import { usesOf } from './registers.ts';

/** How far a base register moves in a round: always the same, or by what a register holds that the loop does not change. */
export type Stride = { readonly bytes: number } | { readonly register: number };

/** Accesses through one base register and one TLB. */
export interface EvenBase {
  readonly register: number;
  readonly table: number;
  readonly stride: Stride;
  /** From the register's value at a round's start: the first byte that is accessed in the round, and how many there are to the end of the last. */
  readonly low: number;
  readonly span: number;
}

/** An access of a base, so many bytes behind `low`. */
export interface EvenAccess {
  readonly base: EvenBase;
  readonly offset: number;
}

export interface EvenLoop {
  readonly bases: readonly EvenBase[];
  readonly accesses: ReadonlyMap<Op, EvenAccess>;
  readonly opCount: number;
  /** The blocks of a round, one behind the other. */
  readonly path: readonly Block[];
  /** See narrowIn. */
  readonly narrow: number;
  /** No instruction can leave within a round: all accesses are even. */
  readonly isCalm: boolean;
}

/** Instructions of a loop that there is a second copy of. */
const MAX_OPS = 64;
/** Bases of a loop, for each of which a page is looked up before the quick rounds. */
const MAX_BASES = 6;
/** The largest step, and the largest span: with more, a page is left after a few rounds. */
const MAX_STEP = PAGE_SIZE / 8;

/** What is even about the loop whose blocks, each leading to the next, are `path`; undefined if nothing is. */
export function evenLoop(path: readonly Block[]): EvenLoop | undefined {
  const ops = path.flatMap((block) => block.ops);
  if (ops.length > MAX_OPS || new Set(ops).size < ops.length || !ops.every(mayBeCounted)) return undefined;
  const writers = new Map<number, number[]>();
  for (const [index, { decoded }] of ops.entries()) {
    const { writes } = usesOf(decoded);
    for (let rest = writes.x; rest !== 0; rest &= rest - 1) {
      const register = 31 - Math.clz32(rest & -rest);
      const known = writers.get(register);
      if (known) known.push(index);
      else writers.set(register, [index]);
    }
  }
  const growing = new Map<string, { register: number; table: number; stride: Stride; low: number; end: number }>();
  const found: { op: Op; key: string; low: number }[] = [];
  for (const [index, op] of ops.entries()) {
    const access = accessOf(op.decoded);
    const { rs1: register, imm } = op.decoded;
    if (!access || register === 0) continue;
    const [writer, ...others] = writers.get(register) ?? [];
    if (others.length > 0) continue;
    const stride: Stride | undefined =
      writer === undefined ? { bytes: 0 } : strideOf(ops[writer]?.decoded, register, writers);
    if (!stride) continue;
    const isBehind = writer !== undefined && index > writer;
    // What is behind a step of unknown size is somewhere else.
    if (isBehind && 'register' in stride) continue;
    const low = isBehind && 'bytes' in stride ? imm + stride.bytes : imm;
    const key = `${register} ${access.table}`;
    const known = growing.get(key) ?? { register, table: access.table, stride, low, end: low };
    known.low = Math.min(known.low, low);
    known.end = Math.max(known.end, low + access.bytes);
    growing.set(key, known);
    found.push({ op, key, low });
  }
  const bases = new Map<string, EvenBase>();
  for (const [key, { register, table, stride, low, end }] of growing) {
    if (end - low <= MAX_STEP && bases.size < MAX_BASES)
      bases.set(key, { register, table, stride, low, span: end - low });
  }
  if (bases.size === 0) return undefined;
  const accesses = new Map<Op, EvenAccess>();
  for (const { op, key, low } of found) {
    const base = bases.get(key);
    if (base) accesses.set(op, { base, offset: low - base.low });
  }
  // Writes are looked up first: a first write may move what is read.
  const ordered = [...bases.values()].toSorted((a, b) => Number(b.table === TLB_WRITE) - Number(a.table === TLB_WRITE));
  const isCalm = ops.every((op) => !accessOf(op.decoded) || accesses.has(op));
  return { bases: ordered, accesses, opCount: ops.length, path, narrow: narrowIn(path), isCalm };
}

/** What changes neither translations nor the hart's state beside registers, and does not wait for others. */
function mayBeCounted({ decoded }: Op): boolean {
  const { extension, name } = decoded.instruction;
  if (name === 'pause' || name === 'fence') return false;
  if (extension === 'Zicsr') return false;
  return !shapeOf(decoded.instruction).mayLeave || accessOf(decoded) !== undefined || usesFloat(decoded);
}

/** How far the only instruction that writes `register` moves it, if by a step that stays the same. */
function strideOf(
  decoded: Decoded | undefined,
  register: number,
  writers: ReadonlyMap<number, readonly number[]>,
): Stride | undefined {
  if (decoded?.instruction.name === 'addi' && decoded.rs1 === register)
    return Math.abs(decoded.imm) <= MAX_STEP ? { bytes: decoded.imm } : undefined;
  if (decoded?.instruction.name !== 'add') return undefined;
  const step = decoded.rs1 === register ? decoded.rs2 : decoded.rs2 === register ? decoded.rs1 : 0;
  return step === 0 || step === register || writers.has(step) ? undefined : { register: step };
}
