/**
 * binary64 division (IEEE 754-2019, 5.4.1). wasm's own division gives the quotient of the two significands rounded to nearest; the sign
 * of the remainder, exact in integers modulo 2^64, says on which side of it the true quotient lies.
 *
 *     Q = 53-bit quotient (nearest), R = x * 2^k - Q * y,  |R| <= y / 2;   true quotient = Q + R / y
 *
 * Ten round bits below Q then need only the sign of R: Q:000...01 for "a little more", (Q-1):111...11 for "a little less". No boundary
 * lies between that and the truth: a quotient of two 53-bit numbers is never half-way between two 53-bit numbers, and where the
 * result is subnormal the boundaries are multiples of Q's unit.
 */

import { i32, select } from '../../wasm/expression.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { binary64, fflags } from './formats.ts';
import type { FlagSink } from './index.ts';
import type { RoundPack } from './round-pack.ts';
import type { FormatFunctions } from './signatures.ts';
import { type NaNResults, exponentOf, fractionOf, isInfinity, isNaN64, isZero, signOf, unpack } from './unpack.ts';

const { bias, fractionBits, infinity, maxExponent, minNormal } = binary64;

export function defineDivide(
  module: ModuleBuilder,
  flags: FlagSink,
  roundPack: RoundPack,
  nan: NaNResults,
  double: FormatFunctions<'i64'>,
): void {
  module.define(double.div, (body, a, b, rm) => {
    const sign = body.let(signOf(a.value.xor(b.value)));
    body.if(exponentOf(a.value).eq(maxExponent).or(exponentOf(b.value).eq(maxExponent)), () => {
      body.if(isNaN64(a.value).or(isNaN64(b.value)), () => body.returnCall(nan.propagate64, a.value, b.value, 0));
      const aIsInfinity = body.let(isInfinity(a.value));
      body.if(aIsInfinity.and(isInfinity(b.value)), () => body.returnCall(nan.invalid64));
      body.return(select(aIsInfinity, sign.or(infinity), sign));
    });
    body.if(isZero(b.value), () => {
      body.if(isZero(a.value), () => body.returnCall(nan.invalid64));
      flags.raise(body, i32(fflags.DZ));
      body.return(sign.or(infinity));
    });
    body.if(isZero(a.value), () => body.return(sign));

    const [x, y] = [unpack(body, a.value), unpack(body, b.value)];
    const estimate = body.let(x.significand.value.toF64S().div(y.significand.value.toF64S()).bits());
    const quotient = body.let(fractionOf(estimate).or(minNormal));
    // The quotient is in [1, 2) or in (1/2, 1); either way Q has 53 bits.
    const isBelowOne = body.let(x.significand.value.ltU(y.significand.value));
    const scaled = x.significand.value.shl(isBelowOne.toI64U().add(fractionBits));
    const remainder = body.let(scaled.sub(quotient.mul(y.significand.value)));
    const side = remainder.shrS(63).or(remainder.ne(0).toI64U());
    const exponent = x.exponent.value
      .sub(y.exponent.value)
      .add(bias - 1)
      .sub(isBelowOne);
    body.returnCall(roundPack.to64, sign, exponent, quotient.shl(10).add(side), rm.value);
  });
}
