/**
 * binary32 arithmetic through binary64: wasm computes in binary64 and the result is rounded once more, to binary32, in the mode asked
 * for. Why the first rounding does no harm, with a "boundary" being a binary32 number or the middle of two (25 bits of precision at most):
 *
 *  - a product of two 24-bit significands has 48 bits and is exact;
 *  - a quotient X / Y that differs from a boundary K differs by at least 1 in X * 2^m - K * Y < 2^50, relatively by more than 2^-50, and
 *    binary64 rounds by at most 2^-53: it stays on its side of K and never meets it. A root likewise (X - K * K, relatively 2^-51);
 *  - a sum may hide a tail far below its 53 bits. The exact tail is known (exactness.ts), and a sum that has one is rounded to odd: of the
 *    two binary64 numbers around the exact sum, the one whose last bit is set. It is no boundary, and lies on the right side of all.
 *
 * Exponents of binary64 are so wide that nothing overflows or underflows on the way: products and sums stay in 2^-298 .. 2^257.
 */

import type { Body } from '../../wasm/body.ts';
import { type F64, type I32, type I64, f64, i32, i64, select } from '../../wasm/expression.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { tailOfSum } from './exactness.ts';
import { binary32, fflags, rounding } from './formats.ts';
import type { FlagSink } from './index.ts';
import type { FloatFunctions } from './signatures.ts';
import type { NaNResults } from './unpack.ts';

const signMask = Number(binary32.signMask);

export function defineSingle(module: ModuleBuilder, flags: FlagSink, nan: NaNResults, functions: FloatFunctions): void {
  const { f64ToF32 } = functions.convert;
  const single = functions.f32;

  module.define(single.add, (body, a, b, rm) => {
    const [x, y] = [promoted(body, a.value), promoted(body, b.value)];
    const sum = body.let(x.add(y));
    body.if(sum.ne(sum), () => returnNaN(body, nan, isNumber(x).and(isNumber(y)), a.value, b.value, i32(0)));
    leaveWithZero(body, sum, a.value.or(b.value), rm.value);
    body.returnCall(f64ToF32, roundedToOdd(body, sum, x, y), rm.value);
  });

  module.define(single.sub, (body, a, b, rm) => {
    body.returnCall(single.add, a.value, b.value.xor(signMask), rm.value);
  });

  module.define(single.mul, (body, a, b, rm) => {
    const [x, y] = [promoted(body, a.value), promoted(body, b.value)];
    const product = body.let(x.mul(y));
    body.if(product.ne(product), () => returnNaN(body, nan, isNumber(x).and(isNumber(y)), a.value, b.value, i32(0)));
    body.returnCall(f64ToF32, product.bits(), rm.value);
  });

  module.define(single.div, (body, a, b, rm) => {
    const [x, y] = [promoted(body, a.value), promoted(body, b.value)];
    const quotient = body.let(x.div(y));
    body.if(quotient.ne(quotient), () => returnNaN(body, nan, isNumber(x).and(isNumber(y)), a.value, b.value, i32(0)));
    const isByZero = y.eq(f64(0)).and(x.abs().lt(f64(Infinity)));
    body.if(isByZero, () => flags.raise(body, i32(fflags.DZ)));
    body.returnCall(f64ToF32, quotient.bits(), rm.value);
  });

  module.define(single.sqrt, (body, a, rm) => {
    const x = promoted(body, a.value);
    const root = body.let(x.sqrt());
    body.if(root.ne(root), () => returnNaN(body, nan, isNumber(x), a.value, i32(0), i32(0)));
    body.returnCall(f64ToF32, root.bits(), rm.value);
  });

  module.define(single.fma, (body, a, b, c, rm) => {
    const [x, y, z] = [promoted(body, a.value), promoted(body, b.value), promoted(body, c.value)];
    const product = body.let(x.mul(y));
    const sum = body.let(product.add(z));
    body.if(sum.ne(sum), () => {
      // Infinity times zero is invalid even when the addend is a quiet NaN.
      const isInvalidProduct = product.ne(product).and(isNumber(x)).and(isNumber(y));
      const isInvalidSum = isNumber(product).and(isNumber(z));
      returnNaN(body, nan, isInvalidProduct.or(isInvalidSum), a.value, b.value, c.value);
    });
    leaveWithZero(body, sum, a.value.xor(b.value).or(c.value), rm.value);
    body.returnCall(f64ToF32, roundedToOdd(body, sum, product, z), rm.value);
  });
}

function promoted(body: Body, a: I32): F64 {
  return body.let(a.bitsToF32().toF64());
}

const isNumber = (x: F64): I32 => x.eq(x);

/** Leaves with the NaN of an invalid operation, or of operands that were NaNs. */
function returnNaN(body: Body, nan: NaNResults, isInvalid: I32, a: I32, b: I32, c: I32): void {
  body.if(isInvalid, () => body.returnCall(nan.invalid32));
  body.returnCall(nan.propagate32, a, b, c);
}

/**
 * A zero sum is exact. It is what wasm says, +0 for opposite terms, except when rounding down: then one negative term is enough
 * for -0. `signs` has the sign bit set when a term is negative.
 */
function leaveWithZero(body: Body, sum: F64, signs: I32, rm: I32): void {
  body.if(sum.eq(f64(0)), () => {
    const roundedDown = signs.and(signMask);
    const nearest = sum.bits().shrU(32).toI32();
    body.return(select(rm.eq(rounding.RDN), roundedDown, nearest));
  });
}

/** The bits of `sum` = x + y, which is not zero, rounded to odd instead of to nearest. */
function roundedToOdd(body: Body, sum: F64, x: F64, y: F64): I64 {
  const tail = tailOfSum(body, sum, x, y);
  const bits = body.local('i64');
  body.set(bits, sum.bits());
  // Of an infinite sum the tail is NaN, which is neither above nor below zero.
  const isAbove = body.let(tail.gt(f64(0)));
  body.if(isAbove.or(tail.lt(f64(0))), () => {
    // An even last bit moves one step towards the tail; the magnitude grows when the tail has the sum's sign.
    const grows = isAbove.eq(sum.gt(f64(0)));
    const isEven = bits.value.and(1).eqz().toI64U();
    body.set(bits, bits.value.add(select(grows, i64(1), i64(-1)).mul(isEven)));
  });
  return bits.value;
}
