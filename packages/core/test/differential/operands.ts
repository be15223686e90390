/** Random operands for an instruction entry, biased to those that hurt: x0, the same register twice, the limits of immediates. */

import type { Random } from '../../src/engine/float/testing/vectors.ts';
import { encode } from '../../src/isa/encode.ts';
import { type Field, withField } from '../../src/isa/encoding.ts';
import type { Instruction } from '../../src/isa/instruction.ts';

/** What the words of a block may touch. */
export interface RegisterChoice {
  readonly random: Random;
  /** Integer registers an instruction may write. */
  readonly writable: readonly number[];
}

export type Operands = Readonly<Record<string, number>>;

/** One word in so many has a reserved rounding mode. */
const RESERVED_ROUNDING = 40;
const COMPRESSED = [8, 9, 10, 11, 12, 13, 14, 15];
const ATTEMPTS = 8;

/** A word of `entry` with the operands in `fixed` and random ones for the rest; undefined when it cannot be had with these registers. */
export function randomWord(choice: RegisterChoice, entry: Instruction, fixed: Operands = {}): number | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const operands: Record<string, number> = {};
    for (const [name, field] of entry.encoding.fields) {
      const value = fixed[name] ?? randomOperand(choice, entry, name, field);
      if (value === undefined) return undefined;
      operands[name] = value;
    }
    const word = encode(entry, operands);
    if (typeof word === 'number') return word;
  }
  return undefined;
}

/** Whether the entry writes the integer register that its syntax or its expansion names x2. */
export function writesStackPointer(entry: Instruction): boolean {
  return entry.name === 'c.addi16sp';
}

export function isFloatOperand(entry: Instruction, name: string): boolean {
  return entry.syntax.split(/[^a-z0-9']+/).includes(`f${name}`);
}

function randomOperand(choice: RegisterChoice, entry: Instruction, name: string, field: Field): number | undefined {
  const { random, writable } = choice;
  if (name === 'rd' || name === "rd'") {
    if (isFloatOperand(entry, name)) return name === 'rd' ? random.below(32) : random.pick(COMPRESSED);
    if (name === "rd'") {
      const allowed = writable.filter((register) => COMPRESSED.includes(register));
      return allowed.length === 0 ? undefined : random.pick(allowed);
    }
    return random.below(10) === 0 ? 0 : random.pick(writable);
  }
  if (/^rs[123]$/.test(name)) return random.below(32);
  if (/^rs[12]'$/.test(name)) return random.pick(COMPRESSED);
  if (name === 'rm')
    return random.below(RESERVED_ROUNDING) === 0 ? 5 + random.below(2) : random.pick([0, 1, 2, 3, 4, 7, 7, 7]);
  return boundary(random, field);
}

/** A value of the field: one of its limits, or any. */
export function boundary(random: Random, field: Field): number {
  const limits = field.signed
    ? [0, 1, -1, 2 ** (field.width - 1) - 1, -(2 ** (field.width - 1)), 2, 16, -2]
    : [0, 1, 2 ** field.width - 1, 2 ** (field.width - 1), 2, 31, 32, 33];
  if (random.below(3) === 0) {
    const limit = random.pick(limits);
    if (withField(field, 0, limit) !== undefined) return limit;
  }
  // Any bits in the field's places make one of its values.
  let value = 0;
  for (const { width, low } of field.slices) value |= (random.bits32() & (2 ** width - 1)) << low;
  return field.signed ? (value << (32 - field.width)) >> (32 - field.width) : value;
}
