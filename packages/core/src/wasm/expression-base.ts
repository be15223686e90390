/** What every expression is: a type and a recipe that may be consumed once; and what recipes are made of. See expression.ts. */

import { assert } from '../base/assert.ts';
import type { Bytes } from './bytes.ts';

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** What follows an instruction's opcode. */
export const IMMEDIATE = {
  none: 0,
  /** `value`, unsigned: an index. */
  u32: 1,
  /** `value`, signed. */
  s32: 2,
  /** Alignment 0 and the offset `value`. */
  memory: 3,
  /** The opcode is a prefix; behind it the sub-opcode `value`, and then the bytes of `more`. */
  prefixed: 4,
  /** An atomic access: the opcode is a prefix; behind it the sub-opcode `value`, then the alignment and the offset of `more`. */
  atomic: 5,
  f32: 6,
  f64: 7,
  /** `wide`, signed. */
  s64: 8,
} as const;

const NO_NUMBERS: readonly number[] = [];

/**
 * How a value is computed: one instruction, and the recipes of its operands, which come first. All recipes are objects of this one
 * class, written by one function: a closure for each would be made, compiled and called anew for every instruction.
 */
export class Recipe {
  declare readonly opcode: number;
  declare readonly a: Recipe | undefined;
  declare readonly b: Recipe | undefined;
  /** Operands behind the second. */
  declare readonly rest: readonly Recipe[] | undefined;
  declare readonly immediate: number;
  declare readonly value: number;
  declare readonly more: readonly number[];
  declare readonly wide: bigint;

  constructor(
    opcode: number,
    a?: Recipe,
    b?: Recipe,
    immediate: number = IMMEDIATE.none,
    value = 0,
    rest?: readonly Recipe[],
    more = NO_NUMBERS,
    wide = 0n,
  ) {
    this.opcode = opcode;
    this.a = a;
    this.b = b;
    this.rest = rest;
    this.immediate = immediate;
    this.value = value;
    this.more = more;
    this.wide = wide;
  }

  /** Writes the instructions. */
  write(code: Bytes): void {
    const { a, b, rest, immediate, value } = this;
    if (a !== undefined) a.write(code);
    if (b !== undefined) b.write(code);
    if (rest !== undefined) for (const each of rest) each.write(code);
    code.byte(this.opcode);
    if (immediate === IMMEDIATE.none) return;
    if (immediate === IMMEDIATE.u32) code.u32(value);
    else if (immediate === IMMEDIATE.s32) code.s32(value);
    else if (immediate === IMMEDIATE.memory) {
      code.byte(0);
      code.u32(value);
    } else this.#writeSeldom(code);
  }

  #writeSeldom(code: Bytes): void {
    const { immediate, value, more } = this;
    if (immediate === IMMEDIATE.s64) code.s64(this.wide);
    else if (immediate === IMMEDIATE.f64) code.f64(value);
    else if (immediate === IMMEDIATE.f32) code.f32(value);
    else {
      code.u32(value);
      for (const each of more) {
        if (immediate === IMMEDIATE.atomic) code.u32(each);
        else code.byte(each);
      }
    }
  }
}

export abstract class Expression {
  abstract readonly type: ValueType;
  declare readonly isLeaf: boolean;
  /** INVARIANT: only handed out by `take`. */
  declare readonly _recipe: Recipe;
  declare _isTaken: boolean;

  constructor(recipe: Recipe, isLeaf = false) {
    this._recipe = recipe;
    this.isLeaf = isLeaf;
    this._isTaken = false;
  }

  /** Hands out the recipe, once. */
  take(): Recipe {
    assert(this.isLeaf || !this._isTaken, 'an expression is consumed twice: keep it in a local with let()');
    this._isTaken = true;
    return this._recipe;
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
  return withOperands(operands, prefix, IMMEDIATE.prefixed, opcode, immediates);
}

/** Any number of operands. */
export function withOperands(
  operands: readonly Expression[],
  opcode: number,
  immediate: number,
  value: number,
  more?: readonly number[],
): Recipe {
  const [a, b, ...rest] = operands.map((operand) => operand.take());
  return new Recipe(opcode, a, b, immediate, value, rest.length > 0 ? rest : undefined, more);
}
