/**
 * binary64 fused multiply-add in integers: a * b + c with one rounding (IEEE 754-2019, 5.4.1 fusedMultiplyAdd). Product and addend are
 * 128-bit significands with their leading one at bit 125; the one of smaller exponent is shifted to the other, jammed. Bits are lost
 * only by shifts longer than the spare low bits (20), and then at most one leading bit cancels: the jammed bit stays below every boundary.
 */

import type { Body, Local } from '../../wasm/body.ts';
import { type I32, type I64, i32, i64, select } from '../../wasm/expression.ts';
import type { FunctionRef, ModuleBuilder } from '../../wasm/module.ts';
import { leaveWithExactFused } from './exactness.ts';
import { binary64 } from './formats.ts';
import type { RoundPack } from './round-pack.ts';
import type { FormatFunctions } from './signatures.ts';
import {
  type Wide,
  addWide,
  multiplyHigh,
  negateWide,
  setWide,
  shiftLeftWide,
  shiftRightJamWide,
  subtractWide,
  wide,
} from './significand.ts';
import {
  type NaNResults,
  type Unpacked,
  cancelled,
  exponentOf,
  isInfinity,
  isNaN64,
  isZero,
  signOf,
  unpack,
} from './unpack.ts';

const { bias, infinity, maxExponent, signMask } = binary64;

export function defineFused(
  module: ModuleBuilder,
  roundPack: RoundPack,
  nan: NaNResults,
  double: FormatFunctions<'i64'>,
): void {
  const special = defineSpecial(module, nan);
  module.define(double.fma, (body, a, b, c, rm) => {
    leaveWithExactFused(body, a.value, b.value, c.value, rm.value);
    const isSpecial = [a, b, c].map((operand) => exponentOf(operand.value).eq(maxExponent)).reduce((x, y) => x.or(y));
    body.if(isSpecial, () => body.returnCall(special, a.value, b.value, c.value));
    const sign = body.local('i64');
    body.set(sign, signOf(a.value.xor(b.value)));
    const isSum = body.let(sign.value.xor(c.value).geS(0));
    const cIsZero = body.let(isZero(c.value));
    body.if(isZero(a.value).or(isZero(b.value)), () => {
      // The product is an exact zero: the sum is c, or the sum of two zeros.
      body.return(select(cIsZero.and(isSum.eqz()), cancelled(rm.value), c.value));
    });

    const exponent = body.local('i32');
    const total = wide(body);
    product(body, unpack(body, a.value), unpack(body, b.value), total, exponent);
    body.if(cIsZero.eqz(), () => addAddend(body, total, exponent, sign, c.value, isSum, rm.value));

    // Normalize: the leading one goes to bit 126, bit 62 of the upper half.
    body.if(total.high.value.eqz(), () => {
      setWide(body, total, total.low.value.shrU(1), total.low.value.shl(63));
      body.set(exponent, exponent.value.sub(63));
    });
    const distance = body.let(total.high.value.clz().sub(1));
    shiftLeftWide(body, total, distance);
    const significand = total.high.value.or(total.low.value.ne(0).toI64U());
    body.returnCall(roundPack.to64, sign.value, exponent.value.sub(distance.toI32()), significand, rm.value);
  });
}

/** Sets `to` to the 106-bit product with its leading one at bit 125, `exponent` to its exponent field. */
function product(body: Body, x: Unpacked, y: Unpacked, to: Wide, exponent: Local<'i32'>): void {
  const [left, right] = [body.let(x.significand.value.shl(10)), body.let(y.significand.value.shl(10))];
  setWide(body, to, multiplyHigh(body, left, right), left.mul(right));
  const isBelowTwo = body.let(to.high.value.shrU(61).eqz());
  shiftLeftWide(body, to, body.let(isBelowTwo.toI64U()));
  body.set(
    exponent,
    x.exponent.value
      .add(y.exponent.value)
      .sub(bias - 1)
      .sub(isBelowTwo),
  );
}

/** `total` += c, a number that is not zero; leaves the function when they cancel. */
function addAddend(
  body: Body,
  total: Wide,
  exponent: Local<'i32'>,
  sign: Local<'i64'>,
  c: I64,
  isSum: I32,
  rm: I32,
): void {
  const unpacked = unpack(body, c);
  const addend = wide(body);
  setWide(body, addend, unpacked.significand.value.shl(9), i64(0));
  const distance = body.let(exponent.value.sub(unpacked.exponent.value));
  body.if(
    distance.ltS(0),
    () => {
      shiftRightJamWide(body, total, body.let(i32(0).sub(distance)));
      body.set(exponent, unpacked.exponent.value);
    },
    () => shiftRightJamWide(body, addend, distance),
  );
  body.if(
    isSum,
    () => addWide(body, total, total, addend),
    () => {
      subtractWide(body, total, total, addend);
      body.if(total.high.value.or(total.low.value).eqz(), () => body.return(cancelled(rm)));
      body.if(total.high.value.ltS(0), () => {
        negateWide(body, total);
        body.set(sign, sign.value.xor(signMask));
      });
    },
  );
}

/** (a, b, c) -> the result when one of them is a NaN or an infinity. */
function defineSpecial(module: ModuleBuilder, nan: NaNResults): FunctionRef<'i64'> {
  return module.function('fma.special.f64', ['i64', 'i64', 'i64'], ['i64'], (body, a, b, c) => {
    const sign = body.let(signOf(a.value.xor(b.value)));
    const aTimesZero = isInfinity(a.value).and(isZero(b.value));
    // RISC-V F raises NV for infinity times zero even when the addend is a quiet NaN (IEEE 754-2019, 7.2 c leaves it open).
    body.if(aTimesZero.or(isZero(a.value).and(isInfinity(b.value))), () => body.returnCall(nan.invalid64));
    const hasNaN = isNaN64(a.value).or(isNaN64(b.value)).or(isNaN64(c.value));
    body.if(hasNaN, () => body.returnCall(nan.propagate64, a.value, b.value, c.value));
    body.if(isInfinity(a.value).or(isInfinity(b.value)), () => {
      body.if(isInfinity(c.value).and(sign.xor(c.value).ltS(0)), () => body.returnCall(nan.invalid64));
      body.return(sign.or(infinity));
    });
    body.result(c.value);
  });
}
