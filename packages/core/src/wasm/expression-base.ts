/** What every expression is: a type and a recipe that may be consumed once; and the common forms of recipe. See expression.ts. */

import { assert } from '../base/assert.ts';
import type { Bytes } from './bytes.ts';

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export type Emit = (code: Bytes) => void;

export abstract class Expression {
  abstract readonly type: ValueType;
  readonly #emit: Emit;
  readonly isLeaf: boolean;
  #consumed = false;

  constructor(emit: Emit, isLeaf = false) {
    this.#emit = emit;
    this.isLeaf = isLeaf;
  }

  /** Hands out the recipe, once. */
  take(): Emit {
    assert(this.isLeaf || !this.#consumed, 'an expression is consumed twice: keep it in a local with let()');
    this.#consumed = true;
    return this.#emit;
  }
}

export function unary(a: Expression, opcode: number): Emit {
  const emitA = a.take();
  return (code) => {
    emitA(code);
    code.byte(opcode);
  };
}

export function binary(a: Expression, b: Expression, opcode: number): Emit {
  const emitA = a.take();
  const emitB = b.take();
  return (code) => {
    emitA(code);
    emitB(code);
    code.byte(opcode);
  };
}

/** `prefix` and an LEB128 sub-opcode: saturating conversions (0xfc), SIMD (0xfd). */
export function prefixed(
  operands: readonly Expression[],
  prefix: number,
  opcode: number,
  ...immediates: number[]
): Emit {
  const emits = operands.map((operand) => operand.take());
  return (code) => {
    for (const emit of emits) emit(code);
    code.byte(prefix);
    code.u32(opcode);
    for (const immediate of immediates) code.byte(immediate);
  };
}
