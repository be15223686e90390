/**
 * Conversions between floating point and integers (IEEE 754-2019, 5.4.1 and 5.8; RISC-V F, table "Domains of float-to-integer
 * conversions and behavior for invalid inputs"). To an integer, wasm rounds to an integral number first, exactly in every mode; then the range
 * is checked on the rounded number, and NV without NX is raised outside. From an integer, what does not fit goes through roundPack.
 */

import type { Body } from '../../wasm/body.ts';
import { type F64, type I32, type I64, f64, i32, i64, select } from '../../wasm/expression.ts';
import type { FunctionRef, ModuleBuilder } from '../../wasm/module.ts';
import { binary32, binary64, fflags, rounding } from './formats.ts';
import type { FlagSink } from './index.ts';
import type { RoundPack } from './round-pack.ts';
import type { FloatFunctions } from './signatures.ts';

/** One integer type as a target: `truncate` saturates and gives 0 for NaN, which RISC-V turns into `ofNaN`, the largest integer. */
export interface IntegerTarget<V extends I32 | I64> {
  readonly least: number;
  /** One more than the largest integer. */
  readonly end: number;
  readonly ofNaN: V;
  truncate(x: F64): V;
}

export const integerTargets = {
  toI32: { least: -(2 ** 31), end: 2 ** 31, ofNaN: i32(0x7fff_ffff), truncate: (x: F64): I32 => x.truncSatI32S() },
  toU32: { least: 0, end: 2 ** 32, ofNaN: i32(-1), truncate: (x: F64): I32 => x.truncSatI32U() },
  toI64: {
    least: -(2 ** 63),
    end: 2 ** 63,
    ofNaN: i64(0x7fff_ffff_ffff_ffffn),
    truncate: (x: F64): I64 => x.truncSatI64S(),
  },
  toU64: { least: 0, end: 2 ** 64, ofNaN: i64(-1), truncate: (x: F64): I64 => x.truncSatI64U() },
} as const satisfies Record<string, IntegerTarget<I32> | IntegerTarget<I64>>;

/** (x: f64, rm) -> x rounded to an integral f64. */
function defineRoundToIntegral(module: ModuleBuilder): FunctionRef<'f64'> {
  return module.function('roundToIntegral', ['f64', 'i32'], ['f64'], (body, x, rm) => {
    body.if(rm.value.eq(rounding.RTZ), () => body.return(x.value.trunc()));
    body.if(rm.value.eq(rounding.RNE), () => body.return(x.value.nearest()));
    body.if(rm.value.eq(rounding.RDN), () => body.return(x.value.floor()));
    body.if(rm.value.eq(rounding.RUP), () => body.return(x.value.ceil()));
    // RMM: the part cut off is exact, so "half or more" is too.
    const truncated = body.let(x.value.trunc());
    const isHalfOrMore = x.value.sub(truncated).abs().ge(f64(0.5));
    const step = select(isHalfOrMore, f64(1), f64(0));
    body.result(truncated.add(step.copysign(x.value)));
  });
}

function convertToInteger<V extends I32 | I64>(
  body: Body,
  flags: FlagSink,
  target: IntegerTarget<V>,
  roundToIntegral: FunctionRef<'f64'>,
  bits: I64,
  rm: I32,
): void {
  const x = body.let(bits.bitsToF64());
  const integral = body.let(body.call(roundToIntegral, x, rm));
  body.if(integral.ge(f64(target.least)).and(integral.lt(f64(target.end))), () => {
    body.if(integral.ne(x), () => flags.raise(body, i32(fflags.NX)));
    body.return(target.truncate(integral));
  });
  flags.raise(body, i32(fflags.NV));
  body.result(select<I32 | I64>(x.ne(x), target.ofNaN, target.truncate(integral)));
}

export function defineToInteger(module: ModuleBuilder, flags: FlagSink, functions: FloatFunctions): void {
  const roundToIntegral = defineRoundToIntegral(module);
  for (const name of ['toI32', 'toU32', 'toI64', 'toU64'] as const) {
    module.define(functions.f64[name], (body, a, rm) => {
      convertToInteger<I32 | I64>(body, flags, integerTargets[name], roundToIntegral, a.value, rm.value);
    });
    // Every binary32 number is a binary64 number; both kinds of NaN raise NV.
    module.define(functions.f32[name], (body, a, rm) => {
      body.returnCall(functions.f64[name], a.value.bitsToF32().toF64().bits(), rm.value);
    });
  }
}

export function defineFromInteger(module: ModuleBuilder, roundPack: RoundPack, functions: FloatFunctions): void {
  for (const [{ fromI32, fromU32, fromI64, fromU64 }, format, pack] of [
    [functions.f32, binary32, roundPack.to32],
    [functions.f64, binary64, roundPack.to64],
  ] as const) {
    /** (sign: i64, magnitude: i64, rm) */
    const fromMagnitude = module.function(
      `fromMagnitude.${format.name}`,
      ['i64', 'i64', 'i32'],
      pack.results,
      (body, sign, magnitude, rm) => {
        body.if(magnitude.value.eqz(), () => body.return(0));
        const zeros = body.let(magnitude.value.clz());
        // The leading one goes to bit 62: up by zeros - 1, or down by one, jammed, when it is bit 63.
        const down = magnitude.value.shrU(1).or(magnitude.value.and(1));
        const significand = select(zeros.eqz(), down, magnitude.value.shl(zeros.sub(1)));
        body.returnCall(pack, sign.value, i32(format.bias + 62).sub(zeros.toI32()), significand, rm.value);
      },
    );
    module.define(fromU64, (body, integer, rm) => body.returnCall(fromMagnitude, 0, integer.value, rm.value));
    module.define(fromI64, (body, integer, rm) => {
      const negative = body.let(integer.value.shrS(63));
      const magnitude = integer.value.xor(negative).sub(negative);
      body.returnCall(fromMagnitude, integer.value.and(binary64.signMask), magnitude, rm.value);
    });
    if (format === binary64) continue;
    module.define(fromI32, (body, integer, rm) => body.returnCall(fromI64, integer.value.toI64S(), rm.value));
    module.define(fromU32, (body, integer, rm) => body.returnCall(fromU64, integer.value.toI64U(), rm.value));
  }
  // 32 bits fit binary64: exact in every mode.
  module.define(functions.f64.fromI32, (body, integer) => body.result(integer.value.toF64S().bits()));
  module.define(functions.f64.fromU32, (body, integer) => body.result(integer.value.toF64U().bits()));
}
