/**
 * Arithmetic on significands wider than a result: shifts that keep what they lose in the last bit ("jam": the last bit is set when any
 * bit shifted out was), and 64 x 64 -> 128 bit multiplication. A jammed value lies on the same side of every rounding boundary as the
 * exact one as long as the boundaries are even numbers of its units.
 */

import type { Body, Local } from '../../wasm/body.ts';
import { type I32, type I64, i64, select } from '../../wasm/expression.ts';

/** `significand >> distance`, jammed, for any distance from 0 up; both operands are leaves. Bit 63 of the significand may be set. */
export function shiftRightJam(body: Body, significand: I64, distance: I32): I64 {
  const bounded = body.let(select(distance.gtU(63), i64(63), distance.toI64U()));
  // For 63 and more only "was anything there" may remain; bit 63 itself survives a shift by 63 and stands for just that.
  const lost = significand.and(i64(1).shl(bounded).sub(1)).ne(0);
  return body.let(significand.shrU(bounded).or(lost.toI64U()));
}

/** The high 64 bits of the product of two leaves, from four 32-bit products (Hacker's Delight, 8-2). */
export function multiplyHigh(body: Body, a: I64, b: I64): I64 {
  const low32 = 0xffff_ffffn;
  const [a0, a1] = [body.let(a.and(low32)), body.let(a.shrU(32))];
  const [b0, b1] = [body.let(b.and(low32)), body.let(b.shrU(32))];
  const middle = body.let(a1.mul(b0).add(a0.mul(b0).shrU(32)));
  const carry = middle.and(low32).add(a0.mul(b1)).shrU(32);
  return body.let(a1.mul(b1).add(middle.shrU(32)).add(carry));
}

/** 128 bits in two locals. */
export interface Wide {
  readonly high: Local<'i64'>;
  readonly low: Local<'i64'>;
}

export function wide(body: Body): Wide {
  return { high: body.local('i64'), low: body.local('i64') };
}

export function setWide(body: Body, to: Wide, high: I64, low: I64): void {
  body.set(to.high, high);
  body.set(to.low, low);
}

/** `value >>= distance`, jammed, for any distance from 0 up. */
export function shiftRightJamWide(body: Body, value: Wide, distance: I32): void {
  body.if(
    distance.geU(64),
    () => {
      const jammed = shiftRightJam(body, value.high.value, body.let(distance.sub(64)));
      setWide(body, value, i64(0), jammed.or(value.low.value.ne(0).toI64U()));
    },
    () => {
      const by = body.let(distance.toI64U());
      const lost = body.let(value.low.value.and(i64(1).shl(by).sub(1)).ne(0));
      // `high << 1 << (63 - by)` is `high << (64 - by)` without asking wasm for a shift by 64, which it takes modulo 64.
      const crossing = value.high.value.shl(1).shl(i64(63).sub(by));
      body.set(value.low, value.low.value.shrU(by).or(crossing).or(lost.toI64U()));
      body.set(value.high, value.high.value.shrU(by));
    },
  );
}

/** `value <<= distance` for 0..63. */
export function shiftLeftWide(body: Body, value: Wide, distance: I64): void {
  const crossing = value.low.value.shrU(1).shrU(i64(63).sub(distance));
  body.set(value.high, value.high.value.shl(distance).or(crossing));
  body.set(value.low, value.low.value.shl(distance));
}

export function addWide(body: Body, to: Wide, a: Wide, b: Wide): void {
  const low = body.let(a.low.value.add(b.low.value));
  const carry = low.ltU(b.low.value).toI64U();
  setWide(body, to, a.high.value.add(b.high.value).add(carry), low);
}

/** `to = a - b` modulo 2^128. */
export function subtractWide(body: Body, to: Wide, a: Wide, b: Wide): void {
  const borrow = body.let(a.low.value.ltU(b.low.value).toI64U());
  setWide(body, to, a.high.value.sub(b.high.value).sub(borrow), a.low.value.sub(b.low.value));
}

export function negateWide(body: Body, value: Wide): void {
  const high = value.high.value.xor(-1n).add(value.low.value.eqz().toI64U());
  setWide(body, value, high, i64(0).sub(value.low.value));
}
