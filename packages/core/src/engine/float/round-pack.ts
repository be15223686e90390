/**
 * The last step of every inexact operation: an exact (or jammed) value is rounded to its format and packed, and overflow, underflow and
 * inexact are raised (IEEE 754-2019, 4.3 and 7.4 to 7.6; tininess is detected after rounding, as RISC-V F says).
 *
 * INVARIANT of the input: the leading one of `significand` is bit 62, and the value is significand / 2^62 * 2^(exponent + 1 - bias). So
 * `exponent` is one less than the exponent field of a normal result, because packing *adds* the leading one to the field; a carry
 * out of the significand then lands in the exponent by itself. `sign` is 0 or bit 63 alone.
 */

import type { Body } from '../../wasm/body.ts';
import { type I32, type I64, i32, i64, select } from '../../wasm/expression.ts';
import type { Expression } from '../../wasm/expression-base.ts';
import type { FunctionRef, ModuleBuilder } from '../../wasm/module.ts';
import { type Format, binary32, binary64, fflags, rounding } from './formats.ts';
import type { FlagSink } from './index.ts';
import { shiftRightJam } from './significand.ts';

/** (sign: i64, exponent: i32, significand: i64, rm: i32) -> bits */
export interface RoundPack {
  readonly to32: FunctionRef<'i32'>;
  readonly to64: FunctionRef<'i64'>;
}

export function defineRoundPack(module: ModuleBuilder, flags: FlagSink): RoundPack {
  return {
    to32: defineOne(module, flags, binary32, 'i32', (magnitude, sign) => magnitude.or(sign.shrU(32)).toI32()),
    to64: defineOne(module, flags, binary64, 'i64', (magnitude, sign) => magnitude.or(sign)),
  };
}

/** `withSign` joins the magnitude's bits, in the low end of an i64, with the sign. */
function defineOne<T extends 'i32' | 'i64'>(
  module: ModuleBuilder,
  flags: FlagSink,
  format: Format,
  result: T,
  withSign: (magnitude: I64, sign: I64) => Expression,
): FunctionRef<T> {
  const roundBits = 62 - format.fractionBits;
  const roundMask = (1n << BigInt(roundBits)) - 1n;
  const half = 1n << BigInt(roundBits - 1);
  const largest = format.maxExponent - 2;

  return module.function(
    `roundPack.${format.name}`,
    ['i64', 'i32', 'i64', 'i32'],
    [result],
    (body, sign, exponent, significand, rm) => {
      const raised = body.local('i32');
      const up = increment(body, sign.value, rm.value, half, roundMask);
      const carries = (): I32 => significand.value.add(up).ltS(0);

      // One unsigned comparison finds both ends: a negative exponent is a large one.
      body.if(exponent.value.geU(largest), () => {
        body.if(
          exponent.value.ltS(0),
          () => {
            // Rounded as if exponents had no end, would it reach the smallest normal number? Only with exponent -1 and a carry.
            const isTiny = body.let(exponent.value.ltS(-1).or(carries().eqz()));
            body.set(significand, shiftRightJam(body, significand.value, body.let(i32(0).sub(exponent.value))));
            body.set(exponent, 0);
            const isInexact = significand.value.and(roundMask).ne(0);
            body.set(raised, select(isTiny.and(isInexact), i32(fflags.UF), i32(0)));
          },
          () => {
            body.if(exponent.value.gtS(largest).or(carries()), () => {
              flags.raise(body, i32(fflags.OF | fflags.NX));
              // A mode that does not round away from zero here stops at the largest finite number.
              body.return(withSign(i64(format.infinity).sub(up.eqz().toI64U()), sign.value));
            });
          },
        );
      });

      const lost = body.let(significand.value.and(roundMask));
      body.set(raised, raised.value.or(lost.ne(0)));
      body.if(raised.value, () => flags.raise(body, raised.value));
      const rounded = significand.value.add(up).shrU(roundBits);
      const isTieToEven = lost.eq(half).and(rm.value.eqz());
      const kept = rounded.and(isTieToEven.toI64U().xor(-1n));
      body.result(withSign(exponent.value.toI64U().shl(format.fractionBits).add(kept), sign.value));
    },
  );
}

/** What is added to the significand before its round bits are cut off. */
function increment(body: Body, sign: I64, rm: I32, half: bigint, roundMask: bigint): I64 {
  const awayFromZero = i32(rounding.RUP).sub(sign.shrU(63).toI32());
  const directed = select(rm.eq(awayFromZero), i64(roundMask), i64(0));
  // RNE is 0 and RMM 4; the tie of RNE is mended after the addition.
  return body.let(select(rm.and(3).eqz(), i64(half), directed));
}
