/** What every expression is: a type and a recipe that may be consumed once; and what recipes are made of. See expression.ts. */

import { assert, defined } from '../base/assert.ts';
import type { Bytes } from './bytes.ts';

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** What follows an instruction's opcode, as a number above its bits. */
export const IMMEDIATE = {
  none: 0,
  /** `value`, unsigned: an index. */
  u32: 0x100,
  /** `value`, signed. */
  s32: 0x200,
  /** Alignment 0 and the offset `value`. */
  memory: 0x300,
  /** The opcode is a prefix; behind it the sub-opcode `value`, and then bytes. */
  prefixed: 0x400,
  /** An atomic access: the opcode is a prefix; behind it the sub-opcode `value`, then the alignment and the offset. */
  atomic: 0x500,
  f32: 0x600,
  f64: 0x700,
  s64: 0x800,
} as const;

/** What few recipes have. */
interface Extra {
  /** Operands behind the second. */
  readonly rest?: readonly Recipe[];
  /** The further numbers of `prefixed` and `atomic`. */
  readonly numbers?: readonly number[];
  /** The value of `s64`. */
  readonly wide?: bigint;
}

/**
 * How a value is computed: one instruction, and the recipes of its operands, which come first. All recipes are objects of this one
 * class, written by one function: a closure for each would be made, compiled and called anew for every instruction.
 */
export class Recipe {
  // `declare`: the constructor alone makes the fields, once.
  /** The opcode, and one of IMMEDIATE. */
  declare readonly form: number;
  declare readonly a: Recipe | undefined;
  declare readonly b: Recipe | undefined;
  declare readonly value: number;
  declare readonly extra: Extra | undefined;

  constructor(form: number, a?: Recipe, b?: Recipe, value = 0, extra?: Extra) {
    this.form = form;
    this.a = a;
    this.b = b;
    this.value = value;
    this.extra = extra;
  }

  /** Writes the instructions. */
  write(code: Bytes): void {
    const { form, a, b, extra } = this;
    if (a !== undefined) a.write(code);
    if (b !== undefined) b.write(code);
    if (extra?.rest !== undefined) for (const each of extra.rest) each.write(code);
    code.byte(form & 0xff);
    if (form > 0xff) this.#writeImmediate(code, form & ~0xff);
  }

  #writeImmediate(code: Bytes, immediate: number): void {
    const { value } = this;
    if (immediate === IMMEDIATE.u32) code.u32(value);
    else if (immediate === IMMEDIATE.s32) code.s32(value);
    else if (immediate === IMMEDIATE.memory) {
      code.byte(0);
      code.u32(value);
    } else if (immediate === IMMEDIATE.s64) code.s64(this.extra?.wide ?? 0n);
    else if (immediate === IMMEDIATE.f64) code.f64(value);
    else if (immediate === IMMEDIATE.f32) code.f32(value);
    else {
      code.u32(value);
      for (const each of this.extra?.numbers ?? []) {
        if (immediate === IMMEDIATE.atomic) code.u32(each);
        else code.byte(each);
      }
    }
  }
}

export abstract class Expression {
  abstract readonly type: ValueType;
  declare readonly isLeaf: boolean;
  declare private readonly recipe: Recipe;
  declare private isTaken: boolean;

  constructor(recipe: Recipe, isLeaf = false) {
    this.recipe = recipe;
    this.isLeaf = isLeaf;
    this.isTaken = false;
  }

  /** Hands out the recipe, once. */
  take(): Recipe {
    assert(this.isLeaf || !this.isTaken, 'an expression is consumed twice: keep it in a local with let()');
    this.isTaken = true;
    return this.recipe;
  }
}

export function unary(a: Expression, opcode: number): Recipe {
  return new Recipe(opcode, a.take());
}

export function binary(a: Expression, b: Expression, opcode: number): Recipe {
  return new Recipe(opcode, a.take(), b.take());
}

/** `prefix` and an LEB128 sub-opcode: saturating conversions (0xfc), SIMD (0xfd). */
export function prefixed(
  operands: readonly Expression[],
  prefix: number,
  opcode: number,
  ...immediates: readonly number[]
): Recipe {
  return withOperands(operands, prefix | IMMEDIATE.prefixed, opcode, immediates);
}

/** Any number of operands. */
export function withOperands(
  operands: readonly Expression[],
  form: number,
  value: number,
  numbers?: readonly number[],
): Recipe {
  const [a, b] = [operands[0]?.take(), operands[1]?.take()];
  if (operands.length <= 2) return new Recipe(form, a, b, value, numbers && { numbers });
  const rest: Recipe[] = [];
  for (let index = 2; index < operands.length; index++) rest.push(defined(operands[index], 'an operand').take());
  return new Recipe(form, a, b, value, numbers ? { rest, numbers } : { rest });
}
