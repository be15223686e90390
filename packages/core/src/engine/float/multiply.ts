/** binary64 multiplication in integers (IEEE 754-2019, 5.4.1): a 106-bit product, its lower half jammed into the upper. */

import type { ModuleBuilder } from '../../wasm/module.ts';
import { leaveWithNearestProduct } from './exactness.ts';
import { binary64 } from './formats.ts';
import type { FlagSink } from './index.ts';
import type { RoundPack } from './round-pack.ts';
import type { FormatFunctions } from './signatures.ts';
import { multiplyHigh } from './significand.ts';
import { type NaNResults, exponentOf, isNaN64, isZero, signOf, unpack } from './unpack.ts';

const { bias, infinity, maxExponent } = binary64;

export function defineMultiply(
  module: ModuleBuilder,
  flags: FlagSink,
  roundPack: RoundPack,
  nan: NaNResults,
  double: FormatFunctions<'i64'>,
): void {
  module.define(double.mul, (body, a, b, rm) => {
    leaveWithNearestProduct(body, flags, a.value, b.value, rm.value);
    const sign = body.let(signOf(a.value.xor(b.value)));
    const hasZero = body.let(isZero(a.value).or(isZero(b.value)));
    body.if(exponentOf(a.value).eq(maxExponent).or(exponentOf(b.value).eq(maxExponent)), () => {
      body.if(isNaN64(a.value).or(isNaN64(b.value)), () => body.returnCall(nan.propagate64, a.value, b.value, 0));
      body.if(hasZero, () => body.returnCall(nan.invalid64));
      body.return(sign.or(infinity));
    });
    body.if(hasZero, () => body.return(sign));

    const [x, y] = [unpack(body, a.value), unpack(body, b.value)];
    // Leading ones at bits 62 and 63: the product's is bit 125 or 126, which is 61 or 62 of the upper half.
    const [left, right] = [body.let(x.significand.value.shl(10)), body.let(y.significand.value.shl(11))];
    const high = multiplyHigh(body, left, right);
    const significand = body.let(high.or(left.mul(right).ne(0).toI64U()));
    const exponent = x.exponent.value.add(y.exponent.value).sub(bias);
    const distance = body.let(significand.shrU(62).xor(1));
    body.returnCall(roundPack.to64, sign, exponent.sub(distance.toI32()), significand.shl(distance), rm.value);
  });
}
