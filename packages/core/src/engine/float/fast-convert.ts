/**
 * The inline forms of conversions. To an integer: RTZ (what C compiles to) and the other modes wasm has, where the mode is known while
 * the code is written; the rounded number in range is the answer, and NX follows from it. From an integer and between formats: exact
 * results are seen by size or by converting back; inexact ones are trusted as in arithmetic.
 */

import type { Body } from '../../wasm/body.ts';
import { type F64, type I32, type I64, f64, i32 } from '../../wasm/expression.ts';
import { type Bits, type Carrier, type Float, carrier32 } from './carrier.ts';
import { type IntegerTarget, integerTargets } from './convert-integer.ts';
import {
  type Condition,
  and,
  called,
  held,
  heldMode,
  isMode,
  isNearest,
  isWellInside,
  or,
  trusted,
} from './fast-conditions.ts';
import { type RoundingOperand, fflags, rounding } from './formats.ts';
import type { FlagSink, FloatEmitters, FormatEmitters } from './index.ts';
import type { FloatFunctions, FormatFunctions } from './signatures.ts';

type ToInteger<V extends I32 | I64> = Pick<FormatEmitters<V>, 'toI32' | 'toU32' | 'toI64' | 'toU64'>;
type FromInteger<V extends I32 | I64> = Pick<FormatEmitters<V>, 'fromI32' | 'fromU32' | 'fromI64' | 'fromU64'>;

/** Rounding to an integral number as one wasm instruction; a mode known only at run time is hoped to be RTZ. */
function integral(x: F64, rm: RoundingOperand): F64 {
  if (rm === rounding.RNE) return x.nearest();
  if (rm === rounding.RDN) return x.floor();
  if (rm === rounding.RUP) return x.ceil();
  return x.trunc();
}

export function toIntegerEmitters<V extends Bits<V>, F extends Float<F>>(
  carrier: Carrier<V, F>,
  functions: FormatFunctions<'i32'> | FormatFunctions<'i64'>,
  flags: FlagSink,
): ToInteger<V> {
  const conversion =
    <R extends I32 | I64>(name: keyof ToInteger<V>, target: IntegerTarget<R>) =>
    (body: Body, a: V, rm: RoundingOperand): R => {
      const [bits, mode] = [held(body, a), heldMode(body, rm)];
      if (mode === rounding.RMM) return called<R>(body, functions[name], bits, mode);
      const x = body.let(carrier.toF64(bits));
      const rounded = body.let(integral(x, mode));
      const isKnown = typeof mode === 'number' || isMode(mode, rounding.RTZ);
      const isInRange = rounded.ge(f64(target.least)).and(rounded.lt(f64(target.end)));
      const isSafe = and(isInRange, isKnown) as I32;
      const result = body.local<'i32' | 'i64'>(target.ofNaN.type);
      body.if(
        isSafe,
        () => {
          body.set(result, target.truncate(rounded));
          body.if(rounded.ne(x), () => flags.raise(body, i32(fflags.NX)));
        },
        () => body.set(result, called(body, functions[name], bits, mode)),
      );
      return result.value as R;
    };
  return {
    toI32: conversion('toI32', integerTargets.toI32),
    toU32: conversion('toU32', integerTargets.toU32),
    toI64: conversion('toI64', integerTargets.toI64),
    toU64: conversion('toU64', integerTargets.toU64),
  };
}

/** Inexact, but in RNE and with NX accrued. */
function inexactIsFine(body: Body, flags: FlagSink, rm: RoundingOperand): Condition {
  const isRNE = isNearest(rm);
  return isRNE === false ? false : and(flags.isInexact(body), isRNE);
}

export function fromIntegerEmitters64(functions: FormatFunctions<'i64'>, flags: FlagSink): FromInteger<I64> {
  return {
    fromI32: (body, integer) => body.let(integer.toF64S().bits()),
    fromU32: (body, integer) => body.let(integer.toF64U().bits()),
    fromI64: (body, integer, rm) => {
      const [x, mode] = [held(body, integer), heldMode(body, rm)];
      // -2^53 .. 2^53
      const fits = x.add(2n ** 53n).leU(2n ** 54n);
      return trusted(
        body,
        or(fits, inexactIsFine(body, flags, mode)),
        body.let(x.toF64S().bits()),
        functions.fromI64,
        x,
        mode,
      );
    },
    fromU64: (body, integer, rm) => {
      const [x, mode] = [held(body, integer), heldMode(body, rm)];
      const fits = x.leU(2n ** 53n);
      return trusted(
        body,
        or(fits, inexactIsFine(body, flags, mode)),
        body.let(x.toF64U().bits()),
        functions.fromU64,
        x,
        mode,
      );
    },
  };
}

export function fromIntegerEmitters32(functions: FormatFunctions<'i32'>, flags: FlagSink): FromInteger<I32> {
  return {
    fromI32: (body, integer, rm) => {
      const [x, mode] = [held(body, integer), heldMode(body, rm)];
      const fits = x.add(2 ** 24).leU(2 ** 25);
      return trusted(
        body,
        or(fits, inexactIsFine(body, flags, mode)),
        body.let(x.toF32S().bits()),
        functions.fromI32,
        x,
        mode,
      );
    },
    fromU32: (body, integer, rm) => {
      const [x, mode] = [held(body, integer), heldMode(body, rm)];
      const fits = x.leU(2 ** 24);
      return trusted(
        body,
        or(fits, inexactIsFine(body, flags, mode)),
        body.let(x.toF32U().bits()),
        functions.fromU32,
        x,
        mode,
      );
    },
    fromI64: (body, integer, rm) => {
      const [x, mode] = [held(body, integer), heldMode(body, rm)];
      const fits = x.add(2n ** 24n).leU(2n ** 25n);
      return trusted(
        body,
        or(fits, inexactIsFine(body, flags, mode)),
        body.let(x.toF32S().bits()),
        functions.fromI64,
        x,
        mode,
      );
    },
    fromU64: (body, integer, rm) => {
      const [x, mode] = [held(body, integer), heldMode(body, rm)];
      const fits = x.leU(2n ** 24n);
      return trusted(
        body,
        or(fits, inexactIsFine(body, flags, mode)),
        body.let(x.toF32U().bits()),
        functions.fromU64,
        x,
        mode,
      );
    },
  };
}

export function formatEmitters(functions: FloatFunctions['convert'], flags: FlagSink): FloatEmitters['convert'] {
  return {
    f64ToF32: (body, a, rm) => {
      const [bits, mode] = [held(body, a), heldMode(body, rm)];
      const x = body.let(bits.bitsToF64());
      const nearest = body.let(x.toF32());
      const quick = body.let(nearest.bits());
      const isExact = nearest.toF64().eq(x);
      const isTrusted = or(isExact, and(isWellInside(carrier32, quick), inexactIsFine(body, flags, mode)));
      return trusted(body, isTrusted, quick, functions.f64ToF32, bits, mode);
    },
    f32ToF64: (body, a) => {
      const bits = held(body, a);
      const x = body.let(bits.bitsToF32());
      return trusted(body, x.eq(x), body.let(x.toF64().bits()), functions.f32ToF64, bits);
    },
  };
}
