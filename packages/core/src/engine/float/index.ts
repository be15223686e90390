/**
 * Floating point as the F and D chapters of the RISC-V unprivileged specification want it: IEEE 754-2019 in binary32 and binary64, all
 * five rounding modes, all five flags, tininess detected after rounding, every NaN result canonical.
 *
 *      generated code (interpreter, JIT)
 *        |  fast.ts: inline, wasm's own f64.add ... when that is provably the answer (RNE, NX already accrued, result in range)
 *        v
 *      the functions of signatures.ts: always right
 *        |  exactness.ts: RNE, and 2Sum or the operands' last bits tell whether anything was lost -> wasm's result
 *        |  single.ts:    binary32 computed in binary64, rounded once more without harm
 *        v
 *      integer arithmetic: add multiply divide square-root fused convert-*
 *        |  sign, exponent, 64-bit significand with a sticky last bit
 *        v
 *      round-pack.ts: rounds, detects overflow and underflow, raises flags through the FlagSink
 */

import type { Body } from '../../wasm/body.ts';
import type { I32, I64 } from '../../wasm/expression.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { defineAdd } from './add.ts';
import { defineCompare } from './compare.ts';
import { defineFormatConversions, defineNarrow } from './convert-format.ts';
import { defineFromInteger, defineToInteger } from './convert-integer.ts';
import { defineDivide } from './divide.ts';
import type { RoundingOperand } from './formats.ts';
import { defineFused } from './fused.ts';
import { defineMultiply } from './multiply.ts';
import { defineRoundPack } from './round-pack.ts';
import { type FloatFunctions, declareFloat } from './signatures.ts';
import { defineSingle } from './single.ts';
import { defineSquareRoot } from './square-root.ts';
import { defineNaNResults } from './unpack.ts';

/** Where flags go. The functions call it from their own bodies: it must find the hart's state without a local of the caller. */
export interface FlagSink {
  /** ORs `flags` (bits of `fflags`) into the accrued flags. */
  raise(body: Body, flags: I32): void;
  /** 1 when NX is accrued already, else 0; what the fast paths ask. */
  isInexact(body: Body): I32;
}

/**
 * Inline forms of the operations of one format. Each writes its fast path into `body` with a call to the function as the other path, and
 * gives the result as a local (it may be used many times). Same meaning as the functions of `FloatFunctions`.
 */
export interface FormatEmitters<V extends I32 | I64> {
  add(body: Body, a: V, b: V, rm: RoundingOperand): V;
  sub(body: Body, a: V, b: V, rm: RoundingOperand): V;
  mul(body: Body, a: V, b: V, rm: RoundingOperand): V;
  div(body: Body, a: V, b: V, rm: RoundingOperand): V;
  sqrt(body: Body, a: V, rm: RoundingOperand): V;
  fma(body: Body, a: V, b: V, c: V, rm: RoundingOperand): V;
  min(body: Body, a: V, b: V): V;
  max(body: Body, a: V, b: V): V;
  eq(body: Body, a: V, b: V): I32;
  lt(body: Body, a: V, b: V): I32;
  le(body: Body, a: V, b: V): I32;
  classify(body: Body, a: V): I32;
  toI32(body: Body, a: V, rm: RoundingOperand): I32;
  toU32(body: Body, a: V, rm: RoundingOperand): I32;
  toI64(body: Body, a: V, rm: RoundingOperand): I64;
  toU64(body: Body, a: V, rm: RoundingOperand): I64;
  fromI32(body: Body, integer: I32, rm: RoundingOperand): V;
  fromU32(body: Body, integer: I32, rm: RoundingOperand): V;
  fromI64(body: Body, integer: I64, rm: RoundingOperand): V;
  fromU64(body: Body, integer: I64, rm: RoundingOperand): V;
}

/** The fast paths of both formats: `fastFloat(functions, flags, { fusedMultiplyAdd: probeFusedMultiplyAdd() })` of fast.ts. */
export interface FloatEmitters {
  readonly f32: FormatEmitters<I32>;
  readonly f64: FormatEmitters<I64>;
  readonly convert: {
    f64ToF32(body: Body, a: I64, rm: RoundingOperand): I32;
    f32ToF64(body: Body, a: I32): I64;
  };
}

/** Writes the functions into `module`. */
export function defineFloat(module: ModuleBuilder, flags: FlagSink): FloatFunctions {
  const functions = declareFloat(module);
  const nan = defineNaNResults(module, flags);
  const roundPack = defineRoundPack(module, flags);
  defineAdd(module, flags, roundPack, nan, functions.f64);
  defineMultiply(module, flags, roundPack, nan, functions.f64);
  defineDivide(module, flags, roundPack, nan, functions.f64);
  defineSquareRoot(module, roundPack, nan, functions.f64);
  defineFused(module, roundPack, nan, functions.f64);
  defineSingle(module, flags, nan, functions);
  defineFormatConversions(module, flags, defineNarrow(module, flags, roundPack), functions.convert);
  defineToInteger(module, flags, functions);
  defineFromInteger(module, roundPack, functions);
  defineCompare(module, flags, functions);
  return functions;
}
