/**
 * What the inline forms ask before they trust wasm's result. wasm rounds to nearest even and raises no flags, so its result is the answer
 * when the mode is RNE and either nothing is raised, or nothing but NX, which is accrued already.
 */

import type { Body } from '../../wasm/body.ts';
import { type F32, type F64, I32, type I64 } from '../../wasm/expression.ts';
import type { FunctionRef } from '../../wasm/module.ts';
import type { Bits, Carrier, Float } from './carrier.ts';
import { type RoundingOperand, rounding } from './formats.ts';

/** A condition in generated code, or one whose outcome is known while the code is written. */
export type Condition = I32 | boolean;

export const and = (a: Condition, b: Condition): Condition => {
  if (typeof a === 'boolean') return a && b;
  if (typeof b === 'boolean') return b && a;
  return a.and(b);
};

export const or = (a: Condition, b: Condition): Condition => {
  if (typeof a === 'boolean') return a || b;
  if (typeof b === 'boolean') return b || a;
  return a.or(b);
};

/** `quick`, a leaf, where it may be trusted; else what `slow` gives for the leaves `operands`. */
export function trusted<V extends I32 | I64>(
  body: Body,
  isTrusted: Condition,
  quick: V,
  slow: FunctionRef,
  ...operands: readonly (I32 | I64 | number)[]
): V {
  if (isTrusted === true) return quick;
  if (isTrusted === false) return called<V>(body, slow, ...operands);
  const result = body.local<'i32' | 'i64'>(quick.type);
  body.set(result, quick);
  body.if(isTrusted.eqz(), () => body.set(result, called(body, slow, ...operands)));
  return result.value as V;
}

/** The result of the function `slow`, in a local. */
export function called<V extends I32 | I64>(
  body: Body,
  slow: FunctionRef,
  ...operands: readonly (I32 | I64 | number)[]
): V {
  return body.let<I32 | I64>(body.call(slow as FunctionRef<'i32' | 'i64'>, ...operands)) as V;
}

export const isMode = (rm: RoundingOperand, mode: number): Condition =>
  typeof rm === 'number' ? rm === mode : rm.eq(mode);
export const isNearest = (rm: RoundingOperand): Condition => isMode(rm, rounding.RNE);

/** An operand that may be consumed several times. */
export function held<E extends I32 | I64 | F32 | F64>(body: Body, operand: E): E {
  return operand.isLeaf ? operand : body.let(operand);
}

export function heldMode(body: Body, rm: RoundingOperand): RoundingOperand {
  return rm instanceof I32 ? held(body, rm) : rm;
}

/**
 * The leaf `bits` is finite and larger in magnitude than the smallest normal number: a result rounded to it neither overflowed nor was
 * tiny. (The smallest normal number itself may have been rounded up from a tiny value.)
 */
export function isWellInside<V extends Bits<V>, F extends Float<F>>(carrier: Carrier<V, F>, bits: V): I32 {
  const { infinity, minNormal } = carrier.format;
  const first = (minNormal + 1n) << 1n;
  return bits
    .shl(carrier.constant(1n))
    .sub(carrier.constant(first))
    .ltU(carrier.constant((infinity << 1n) - first));
}

/** The leaf `bits` is neither infinite nor a NaN. */
export function isFinite<V extends Bits<V>, F extends Float<F>>(carrier: Carrier<V, F>, bits: V): I32 {
  return bits.shl(carrier.constant(1n)).ltU(carrier.constant(carrier.format.infinity << 1n));
}
