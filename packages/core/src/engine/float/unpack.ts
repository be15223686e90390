/**
 * The parts of a binary64 number, and what becomes of NaNs and invalid operations (IEEE 754-2019, 3.4 and 7.2; RISC-V F, "NaN Generation
 * and Propagation": the result is always the canonical NaN, and only signaling operands raise NV).
 */

import type { Body, Local } from '../../wasm/body.ts';
import { type I32, type I64, i32, i64, select } from '../../wasm/expression.ts';
import type { FunctionRef, ModuleBuilder } from '../../wasm/module.ts';
import { binary32, binary64, canonicalNaN32, canonicalNaN64, fflags, rounding } from './formats.ts';
import type { FlagSink } from './index.ts';

const { fractionBits, fractionMask, infinity, maxExponent, minNormal, quietBit, signMask } = binary64;

// All of these take leaves.
export const signOf = (a: I64): I64 => a.and(signMask);
export const exponentOf = (a: I64): I32 => a.shrU(fractionBits).toI32().and(maxExponent);
export const fractionOf = (a: I64): I64 => a.and(fractionMask);
export const isZero = (a: I64): I32 => a.shl(1).eqz();
export const isInfinity = (a: I64): I32 => a.shl(1).eq(infinity << 1n);
export const isNaN64 = (a: I64): I32 => a.shl(1).gtU(infinity << 1n);
/** With its quiet bit turned over, only a signaling NaN is above the quiet NaN without payload. */
export const isSignaling64 = (a: I64): I32 =>
  a
    .xor(quietBit)
    .shl(1)
    .gtU((infinity | quietBit) << 1n);
export const isSignaling32 = (a: I32): I32 =>
  a
    .xor(Number(binary32.quietBit))
    .shl(1)
    .gtU(Number((binary32.infinity | binary32.quietBit) << 1n));

/** +0, or -0 when rounding down: the sum of opposite numbers (IEEE 754-2019, 6.3). */
export const cancelled = (rm: I32): I64 => select(rm.eq(rounding.RDN), i64(signMask), i64(0));

/** A finite number that is not zero: value = significand / 2^52 * 2^(exponent - bias) with 2^52 <= significand < 2^53. */
export interface Unpacked {
  readonly exponent: Local<'i32'>;
  readonly significand: Local<'i64'>;
}

/** Unpacks the leaf `a`; a subnormal number is normalized, its exponent goes down to -51. */
export function unpack(body: Body, a: I64): Unpacked {
  const exponent = body.local('i32');
  const significand = body.local('i64');
  body.set(exponent, exponentOf(a));
  body.set(significand, fractionOf(a));
  body.if(
    exponent.value.eqz(),
    () => {
      const distance = body.let(significand.value.clz().sub(63 - fractionBits));
      body.set(significand, significand.value.shl(distance));
      body.set(exponent, i32(1).sub(distance.toI32()));
    },
    () => body.set(significand, significand.value.or(minNormal)),
  );
  return { exponent, significand };
}

/** The results of invalid operations and of operations on NaNs, as functions to leave by. */
export interface NaNResults {
  /** () -> canonical NaN; raises NV */
  readonly invalid32: FunctionRef<'i32'>;
  readonly invalid64: FunctionRef<'i64'>;
  /** (a, b, c) -> canonical NaN; raises NV when one of them is a signaling NaN */
  readonly propagate32: FunctionRef<'i32'>;
  readonly propagate64: FunctionRef<'i64'>;
}

export function defineNaNResults(module: ModuleBuilder, flags: FlagSink): NaNResults {
  const invalid32 = module.function('invalid.f32', [], ['i32'], (body) => {
    flags.raise(body, i32(fflags.NV));
    body.result(canonicalNaN32);
  });
  const invalid64 = module.function('invalid.f64', [], ['i64'], (body) => {
    flags.raise(body, i32(fflags.NV));
    body.result(canonicalNaN64);
  });
  const propagate32 = module.function('propagateNaN.f32', ['i32', 'i32', 'i32'], ['i32'], (body, a, b, c) => {
    const isSignaling = isSignaling32(a.value).or(isSignaling32(b.value)).or(isSignaling32(c.value));
    body.if(isSignaling, () => flags.raise(body, i32(fflags.NV)));
    body.result(canonicalNaN32);
  });
  const propagate64 = module.function('propagateNaN.f64', ['i64', 'i64', 'i64'], ['i64'], (body, a, b, c) => {
    const isSignaling = isSignaling64(a.value).or(isSignaling64(b.value)).or(isSignaling64(c.value));
    body.if(isSignaling, () => flags.raise(body, i32(fflags.NV)));
    body.result(canonicalNaN64);
  });
  return { invalid32, invalid64, propagate32, propagate64 };
}
