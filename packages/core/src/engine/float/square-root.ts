/**
 * binary64 square root (IEEE 754-2019, 5.4.1), as division is done: wasm's own root rounded to nearest, then the sign of the exact
 * remainder. With the significand m in [2^52, 2^54) and an even exponent:
 *
 *     Q = 53-bit root (nearest) of m * 2^52,  R = m * 2^52 - Q * Q,  |R| <= Q;   the true root lies above Q if R > 0, below if R < 0
 */

import type { ModuleBuilder } from '../../wasm/module.ts';
import { binary64 } from './formats.ts';
import type { RoundPack } from './round-pack.ts';
import type { FormatFunctions } from './signatures.ts';
import { type NaNResults, exponentOf, fractionOf, isNaN64, isZero, unpack } from './unpack.ts';

const { bias, fractionBits, maxExponent, minNormal } = binary64;

export function defineSquareRoot(
  module: ModuleBuilder,
  roundPack: RoundPack,
  nan: NaNResults,
  double: FormatFunctions<'i64'>,
): void {
  module.define(double.sqrt, (body, a, rm) => {
    body.if(isZero(a.value), () => body.return(a.value));
    body.if(isNaN64(a.value), () => body.returnCall(nan.propagate64, a.value, 0, 0));
    body.if(a.value.ltS(0), () => body.returnCall(nan.invalid64));
    body.if(exponentOf(a.value).eq(maxExponent), () => body.return(a.value));

    const x = unpack(body, a.value);
    // The bias is odd: an even exponent field is an odd power of two.
    const exponent = body.let(x.exponent.value.sub(bias));
    const significand = body.let(x.significand.value.shl(exponent.and(1).toI64U()));
    const root = body.let(fractionOf(body.let(significand.toF64S().sqrt().bits())).or(minNormal));
    const remainder = body.let(significand.shl(fractionBits).sub(root.mul(root)));
    const side = remainder.shrS(63).or(remainder.ne(0).toI64U());
    body.returnCall(roundPack.to64, 0, exponent.shrS(1).add(bias - 1), root.shl(10).add(side), rm.value);
  });
}
