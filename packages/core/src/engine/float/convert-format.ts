/** Conversions between binary64 and binary32 (IEEE 754-2019, 5.4.2 convertFormat; FCVT.S.D and FCVT.D.S of RISC-V D). */

import type { FunctionRef, ModuleBuilder } from '../../wasm/module.ts';
import { binary32, binary64, canonicalNaN64, fflags, rounding } from './formats.ts';
import { f32, i32 } from '../../wasm/expression.ts';
import type { FlagSink } from './index.ts';
import type { RoundPack } from './round-pack.ts';
import type { FloatFunctions } from './signatures.ts';
import { exponentOf, fractionOf, isNaN64, isSignaling32, isSignaling64, isZero, signOf } from './unpack.ts';

const minNormal32 = 2 ** (1 - binary32.bias);

/** (a, rm): FCVT.S.D in integers. */
export function defineNarrow(module: ModuleBuilder, flags: FlagSink, roundPack: RoundPack): FunctionRef<'i32'> {
  return module.function('narrow', ['i64', 'i32'], ['i32'], (body, a, rm) => {
    body.if(exponentOf(a.value).eq(binary64.maxExponent), () => {
      body.if(isNaN64(a.value), () => {
        body.if(isSignaling64(a.value), () => flags.raise(body, i32(fflags.NV)));
        body.return(Number(binary32.canonicalNaN));
      });
      body.return(signOf(a.value).shrU(32).toI32().or(Number(binary32.infinity)));
    });
    body.if(isZero(a.value), () => body.return(a.value.shrU(32).toI32()));
    // A binary64 subnormal keeps a wrong leading one, but it is so far below every binary32 number that only "not zero" matters.
    const significand = fractionOf(a.value)
      .or(binary64.minNormal)
      .shl(62 - binary64.fractionBits);
    const exponent = exponentOf(a.value).add(binary32.bias - binary64.bias - 1);
    body.returnCall(roundPack.to32, signOf(a.value), exponent, significand, rm.value);
  });
}

/** Writes `convert`. `narrow` is the function of `defineNarrow`. */
export function defineFormatConversions(
  module: ModuleBuilder,
  flags: FlagSink,
  narrow: FunctionRef<'i32'>,
  functions: FloatFunctions['convert'],
): void {
  module.define(functions.f64ToF32, (body, a, rm) => {
    const x = body.let(a.value.bitsToF64());
    const nearest = body.let(x.toF32());
    body.if(nearest.toF64().eq(x), () => body.return(nearest.bits()));
    // Inexact or NaN. Just above the smallest normal number nothing underflows; infinities and NaNs fail the comparison.
    const magnitude = body.let(nearest.abs());
    const isInRange = magnitude.gt(f32(minNormal32)).and(magnitude.lt(f32(Infinity)));
    body.if(rm.value.eq(rounding.RNE).and(isInRange), () => {
      flags.raise(body, i32(fflags.NX));
      body.return(nearest.bits());
    });
    body.returnCall(narrow, a.value, rm.value);
  });

  module.define(functions.f32ToF64, (body, a) => {
    const x = body.let(a.value.bitsToF32());
    body.if(x.eq(x), () => body.return(x.toF64().bits()));
    body.if(isSignaling32(a.value), () => flags.raise(body, i32(fflags.NV)));
    body.result(canonicalNaN64);
  });
}
