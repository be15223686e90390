/** Statements that compute. */

import type { Random } from '../../../src/engine/float/testing/vectors.ts';
import type { Instruction } from '../../../src/isa/instruction.ts';
import { instructions } from '../../../src/isa/instructions.ts';
import { CONSTANTS, CONSTANT_COUNT } from '../places.ts';
import { writesStackPointer } from '../operands.ts';
import { isMemory, plainEntries } from '../sequence.ts';
import { interestingValue } from '../values.ts';
import type { HotFunction } from './function.ts';
import type { Statement } from './statement.ts';

/** Rounding modes that exist; 7 is frm, which is one of them too. */
const ROUNDING = [0, 0, 1, 2, 3, 4, 7, 7, 7];

const integer = plainEntries.filter((entry) => !writesStackPointer(entry) && !['F', 'D'].includes(entry.extension));
const strictInteger = instructions.filter(({ extension, name }) => extension === 'Zicond' || name === 'ctzw');
const float = instructions.filter((entry) => ['F', 'D'].includes(entry.extension) && !isMemory(entry));
const arithmetic = (f: HotFunction, format: 's' | 'd'): Instruction =>
  f.random.pick(
    float.filter(({ name }) => new RegExp(`^f(add|sub|mul|n?m(add|sub)|div|sqrt|min|max)\\.${format}$`).test(name)),
  );

function placeFloat(f: HotFunction, entry: Instruction, fixed: Record<string, number> = {}): void {
  const rounding = entry.encoding.fields.has('rm') ? { rm: f.random.pick(ROUNDING) } : {};
  f.placeRandom(entry, { ...rounding, ...fixed });
}

function computeIntegers(f: HotFunction): void {
  for (let n = 1 + f.random.below(4); n > 0; n--)
    f.placeRandom(f.random.pick(f.world.isStrict && f.random.below(10) === 0 ? strictInteger : integer));
}

function computeFloats(f: HotFunction): void {
  for (let n = 1 + f.random.below(4); n > 0; n--) placeFloat(f, f.random.pick(float));
}

function freshInteger(f: HotFunction): void {
  f.loadImmediate(f.someWritable(), interestingValue(f.random));
}

/** A value from the constants, boxed and not. */
function freshFloat(f: HotFunction): void {
  f.holding((base) => {
    f.loadImmediate(base, BigInt(CONSTANTS + 8 * f.random.below(CONSTANT_COUNT / 2)));
    for (let n = 1 + f.random.below(3); n > 0; n--)
      f.emit(f.random.pick(['fld', 'fld', 'flw']), {
        rd: f.random.below(32),
        rs1: base,
        imm: 8 * f.random.below(200),
      });
  });
}

/** A number near one for a register whose value has become a NaN or an infinity, where the rest of a loop would only copy it. */
function ordinaryFloat(f: HotFunction): void {
  const isDouble = f.random.below(2) === 0;
  const bits = isDouble
    ? 0x3fe0_0000_0000_0000n | (f.random.bits64() & 0x801f_ffff_ffff_ffffn)
    : 0x3f00_0000n | BigInt((f.random.bits32() & 0x80ff_ffff) >>> 0);
  const register = f.someWritable();
  f.loadImmediate(register, bits);
  f.emit(isDouble ? 'fmv.d.x' : 'fmv.w.x', { rd: f.random.below(32), rs1: register });
}

/** What loops of numeric programs do: sums and products that feed back and stay finite, with integers on the way. */
function iterate(f: HotFunction): void {
  const { random } = f;
  const format = random.pick(['s', 'd'] as const);
  const [sum, term, factor, ...others] = distinct(random, 5) as [number, number, number, ...number[]];
  const rm = random.pick(ROUNDING);
  const [a = 0, b = 0] = others;
  f.emit(`fmul.${format}`, { rd: term, rs1: term, rs2: factor, rm });
  f.emit(`fadd.${format}`, { rd: sum, rs1: sum, rs2: term, rm });
  placeFloat(f, arithmetic(f, format), { rd: a, rs1: sum, rs2: b });
  if (random.below(3) === 0) {
    const register = f.someWritable();
    f.emit(`fcvt.l.${format}`, { rd: register, rs1: sum, rm: random.pick(ROUNDING) });
    f.emit(`fcvt.${format}.l`, { rd: b, rs1: register, rm });
  }
  if (random.below(4) === 0)
    f.emit(random.pick([`flt.${format}`, `fle.${format}`, `feq.${format}`]), {
      rd: f.someWritable(),
      rs1: sum,
      rs2: a,
    });
  if (random.below(4) === 0) ordinaryFloat(f);
}

function distinct(random: Random, count: number): number[] {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(random.below(32));
  return [...chosen];
}

export const numbers: readonly Statement[] = [
  { share: 24, place: computeIntegers },
  { share: 12, place: computeFloats },
  { share: 4, place: iterate },
  { share: 3, place: freshInteger },
  { share: 3, place: freshFloat },
  { share: 3, place: ordinaryFloat },
];
