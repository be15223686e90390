/**
 * The inline forms of arithmetic: wasm's own operation when the mode is RNE, NX is accrued already and the result is such that nothing
 * else can have been raised; the function otherwise. Conditions are computed together and decided by one branch.
 *
 *  - sums and differences: a finite result. It did not overflow, and a tiny sum is exact.
 *  - products, quotients, fused: a result well inside the normal range.
 *  - roots: a positive finite operand; the root is normal.
 */

import type { Body } from '../../wasm/body.ts';
import { type F64, type I32, type I64, i64 } from '../../wasm/expression.ts';
import { type Bits, type Carrier, type Float, carrier32, carrier64 } from './carrier.ts';
import {
  type Condition,
  and,
  called,
  held,
  heldMode,
  isFinite,
  isNearest,
  isWellInside,
  trusted,
} from './fast-conditions.ts';
import type { RoundingOperand } from './formats.ts';
import type { FlagSink, FormatEmitters } from './index.ts';
import type { FloatFunctions, FormatFunctions } from './signatures.ts';

type Arithmetic<V extends I32 | I64> = Pick<FormatEmitters<V>, 'add' | 'sub' | 'mul' | 'div' | 'sqrt'>;
type Fused<V extends I32 | I64> = FormatEmitters<V>['fma'];

export function arithmeticEmitters<V extends Bits<V>, F extends Float<F>>(
  carrier: Carrier<V, F>,
  functions: FormatFunctions<'i32'> | FormatFunctions<'i64'>,
  flags: FlagSink,
): Arithmetic<V> {
  const binary =
    (name: 'add' | 'sub' | 'mul' | 'div', isSafe: (carrier: Carrier<V, F>, bits: V) => I32) =>
    (body: Body, a: V, b: V, rm: RoundingOperand): V => {
      const [x, y, mode] = [held(body, a), held(body, b), heldMode(body, rm)];
      const isRNE = isNearest(mode);
      if (isRNE === false) return called<V>(body, functions[name], x, y, mode);
      const quick = body.let(carrier.toBits(carrier.toFloat(x)[name](carrier.toFloat(y))));
      return trusted<V>(
        body,
        nothingNew(body, flags, isRNE, isSafe(carrier, quick)),
        quick,
        functions[name],
        x,
        y,
        mode,
      );
    };
  return {
    add: binary('add', isFinite),
    sub: binary('sub', isFinite),
    mul: binary('mul', isWellInside),
    div: binary('div', isWellInside),
    sqrt: (body, a, rm) => {
      const [x, mode] = [held(body, a), heldMode(body, rm)];
      const isRNE = isNearest(mode);
      if (isRNE === false) return called<V>(body, functions.sqrt, x, mode);
      const quick = body.let(carrier.toBits(carrier.toFloat(x).sqrt()));
      // Between the bits of zero and of infinity, both left out.
      const isPositive = x.sub(carrier.constant(1n)).ltU(carrier.constant(carrier.format.infinity - 1n));
      return trusted<V>(body, nothingNew(body, flags, isRNE, isPositive), quick, functions.sqrt, x, mode);
    },
  };
}

/** Mode RNE, a result that can have raised NX at most, and NX is there. */
function nothingNew(body: Body, flags: FlagSink, isRNE: Condition, isSafe: I32): Condition {
  return and(isSafe.and(flags.isInexact(body)), isRNE);
}

/** a * b + c of binary64 by `f64x2.relaxed_madd`: rounded once where the host fuses it (see probe.ts). */
export function emitFusedMultiplyAdd(a: F64, b: F64, c: F64): F64 {
  return a.splat().relaxedMaddF64(b.splat(), c.splat()).laneF64(0);
}

/** binary64, where the host fuses. */
export function fusedEmitter64(functions: FloatFunctions, flags: FlagSink): Fused<I64> {
  return (body, a, b, c, rm) => {
    const [x, y, z, mode] = [held(body, a), held(body, b), held(body, c), heldMode(body, rm)];
    const isRNE = isNearest(mode);
    if (isRNE === false) return called<I64>(body, functions.f64.fma, x, y, z, mode);
    const quick = body.let(emitFusedMultiplyAdd(x.bitsToF64(), y.bitsToF64(), z.bitsToF64()).bits());
    return trusted<I64>(
      body,
      nothingNew(body, flags, isRNE, isWellInside(carrier64, quick)),
      quick,
      functions.f64.fma,
      x,
      y,
      z,
      mode,
    );
  };
}

/**
 * binary32 through binary64: the product is exact, the sum is rounded to binary64 and then to binary32. The second rounding goes wrong only
 * when the first one ends on the middle of two binary32 numbers, which for a normal result is a one and 28 zeros below the 24 bits.
 */
export function fusedEmitter32(functions: FloatFunctions, flags: FlagSink): Fused<I32> {
  return (body, a, b, c, rm) => {
    const [x, y, z, mode] = [held(body, a), held(body, b), held(body, c), heldMode(body, rm)];
    const isRNE = isNearest(mode);
    if (isRNE === false) return called<I32>(body, functions.f32.fma, x, y, z, mode);
    const [wideX, wideY, wideZ] = [x, y, z].map((operand) => operand.bitsToF32().toF64()) as [F64, F64, F64];
    const sum = body.let(wideX.mul(wideY).add(wideZ));
    const quick = body.let(sum.toF32().bits());
    const isNoMiddle = sum.bits().and(i64(0x1fff_ffffn)).ne(0x1000_0000n);
    const isSafe = isWellInside(carrier32, quick).and(isNoMiddle);
    return trusted<I32>(body, nothingNew(body, flags, isRNE, isSafe), quick, functions.f32.fma, x, y, z, mode);
  };
}

/** Calls the function: for a host that does not fuse. */
export function unfusedEmitter64(functions: FloatFunctions): Fused<I64> {
  return (body, a, b, c, rm) => called<I64>(body, functions.f64.fma, a, b, c, rm);
}
