/**
 * Shortcuts at the head of binary64 functions, for mode RNE: where floating-point operations themselves show that nothing is lost, wasm's
 * result is the answer and the integers are not needed. They matter while NX is not accrued, above all to programs whose numbers are
 * integers and which never accrue it.
 */

import type { Body } from '../../wasm/body.ts';
import { type F64, type I32, type I64, f64, i32 } from '../../wasm/expression.ts';
import { carrier64 } from './carrier.ts';
import { isWellInside } from './fast-conditions.ts';
import { binary64, fflags } from './formats.ts';
import type { FlagSink } from './index.ts';
import { exponentOf } from './unpack.ts';

/**
 * x + y - sum, exactly (2Sum: Knuth, TAOCP 2, 4.2.2, theorem B), if it is finite. An operation that overflows on the way makes the
 * tail infinite or NaN; underflow does no harm.
 */
export function tailOfSum(body: Body, sum: F64, x: F64, y: F64): F64 {
  const yPart = body.let(sum.sub(x));
  return body.let(x.sub(sum.sub(yPart)).add(y.sub(yPart)));
}

/** Leaves with a + b in mode RNE when no infinity or NaN is near. A sum does not underflow, so the tail decides all flags. */
export function leaveWithNearestSum(body: Body, flags: FlagSink, a: I64, b: I64, rm: I32): void {
  body.if(rm.eqz(), () => {
    const [x, y] = [body.let(a.bitsToF64()), body.let(b.bitsToF64())];
    const sum = body.let(x.add(y));
    const tail = tailOfSum(body, sum, x, y);
    body.if(tail.abs().lt(f64(Infinity)), () => {
      body.if(tail.ne(f64(0)), () => flags.raise(body, i32(fflags.NX)));
      body.return(sum.bits());
    });
  });
}

/** Leaves with a * b in mode RNE when the operands are normal and the product is too. */
export function leaveWithNearestProduct(body: Body, flags: FlagSink, a: I64, b: I64, rm: I32): void {
  body.if(rm.eqz(), () => {
    const product = body.let(a.bitsToF64().mul(b.bitsToF64()).bits());
    body.if(isWellInside(carrier64, product).and(isNormalOrMore(a)).and(isNormalOrMore(b)), () => {
      body.if(isExactProduct(product, a, b).eqz(), () => flags.raise(body, i32(fflags.NX)));
      body.return(product);
    });
  });
}

/** Leaves with a * b + c in mode RNE when product and sum are both exact. */
export function leaveWithExactFused(body: Body, a: I64, b: I64, c: I64, rm: I32): void {
  body.if(rm.eqz(), () => {
    const product = body.let(a.bitsToF64().mul(b.bitsToF64()));
    const productBits = body.let(product.bits());
    const addend = body.let(c.bitsToF64());
    const sum = body.let(product.add(addend));
    const tail = tailOfSum(body, sum, product, addend);
    const isExact = isWellInside(carrier64, productBits)
      .and(isExactProduct(productBits, a, b))
      .and(tail.eq(f64(0)));
    body.if(isExact, () => body.return(sum.bits()));
  });
}

const isNormalOrMore = (a: I64): I32 => a.shl(1).geU(binary64.minNormal << 1n);

/**
 * For a rounded product that is well inside the normal range: it lost nothing. The last set bit of the exact product, which is where the
 * operands' last bits multiply, is not below the last place of the rounded one. (A subnormal operand counts here as half of what it
 * is: then "no" may be wrong, "yes" never.)
 */
function isExactProduct(product: I64, a: I64, b: I64): I32 {
  const { bias, fractionBits } = binary64;
  const lastBit = (bits: I64): I32 => bits.or(binary64.minNormal).ctz().toI32().add(exponentOf(bits));
  return lastBit(a)
    .add(lastBit(b))
    .geS(exponentOf(product).add(bias + fractionBits));
}
