/**
 * binary64 addition in integers (IEEE 754-2019, 5.4.1). The operand of smaller magnitude is shifted to the exponent of the larger; nine
 * spare bits below the fraction and a jammed last bit keep what rounding needs. A sum that is subnormal is exact.
 */

import type { Body } from '../../wasm/body.ts';
import { type I32, type I64, i32, i64, select } from '../../wasm/expression.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { leaveWithNearestSum } from './exactness.ts';
import { binary64 } from './formats.ts';
import type { FlagSink } from './index.ts';
import type { RoundPack } from './round-pack.ts';
import type { FormatFunctions } from './signatures.ts';
import { shiftRightJam } from './significand.ts';
import { type NaNResults, cancelled, exponentOf, fractionOf, isNaN64, signOf } from './unpack.ts';

const { infinity, maxExponent, minNormal, signMask } = binary64;

/** Spare bits below the significand: its leading one is bit 61, so that a sum does not reach the sign bit. */
const spareBits = 9;

export function defineAdd(
  module: ModuleBuilder,
  flags: FlagSink,
  roundPack: RoundPack,
  nan: NaNResults,
  double: FormatFunctions<'i64'>,
): void {
  module.define(double.sub, (body, a, b, rm) => body.returnCall(double.add, a.value, b.value.xor(signMask), rm.value));

  module.define(double.add, (body, a, b, rm) => {
    leaveWithNearestSum(body, flags, a.value, b.value, rm.value);
    body.if(b.value.shl(1).gtU(a.value.shl(1)), () => {
      const smaller = body.let(a.value);
      body.set(a, b.value);
      body.set(b, smaller);
    });
    // Now |a| >= |b|.
    const sign = body.let(signOf(a.value));
    const isSum = body.let(a.value.xor(b.value).geS(0));
    const exponent = body.let(exponentOf(a.value));
    body.if(exponent.eq(maxExponent), () => {
      body.if(isNaN64(a.value), () => body.returnCall(nan.propagate64, a.value, b.value, 0));
      const isOpposite = isSum.eqz().and(b.value.shl(1).eq(infinity << 1n));
      body.if(isOpposite, () => body.returnCall(nan.invalid64));
      body.return(a.value);
    });

    const exponentB = body.let(exponentOf(b.value));
    const [fieldA, fieldB] = [atLeastOne(body, exponent), atLeastOne(body, exponentB)];
    const significandA = body.let(aligned(a.value, exponent));
    const significandB = shiftRightJam(body, body.let(aligned(b.value, exponentB)), body.let(fieldA.sub(fieldB)));
    const total = body.let(select(isSum, significandA.add(significandB), significandA.sub(significandB)));
    body.if(total.eqz(), () => body.return(select(isSum, sign, cancelled(rm.value))));
    const distance = body.let(total.clz().sub(1));
    body.returnCall(roundPack.to64, sign, fieldA.sub(distance.toI32()), total.shl(distance), rm.value);
  });
}

/** Subnormal numbers count with the exponent of the smallest normal ones. */
function atLeastOne(body: Body, exponent: I32): I32 {
  return body.let(select(exponent, exponent, i32(1)));
}

function aligned(a: I64, exponent: I32): I64 {
  return fractionOf(a)
    .or(select(exponent, i64(minNormal), i64(0)))
    .shl(spareBits);
}
