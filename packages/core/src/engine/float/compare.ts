/**
 * Comparisons, minimum and maximum, and classification (IEEE 754-2019, 5.6.1, 5.7.2, 9.6; RISC-V F, "Single-Precision Floating-Point
 * Compare Instructions" and "Classify Instruction"). wasm's comparisons give the answers, NaNs included; what is left to do is flags.
 */

import type { Body } from '../../wasm/body.ts';
import { type I32, type I64, i32, select } from '../../wasm/expression.ts';
import type { FunctionRef, ModuleBuilder } from '../../wasm/module.ts';
import { type Bits, type Carrier, type Float, carrier32, carrier64 } from './carrier.ts';
import { fflags } from './formats.ts';
import type { FlagSink } from './index.ts';
import type { FloatFunctions, FormatFunctions } from './signatures.ts';

export function defineCompare(module: ModuleBuilder, flags: FlagSink, functions: FloatFunctions): void {
  defineOfFormat(module, flags, carrier32, functions.f32);
  defineOfFormat(module, flags, carrier64, functions.f64);
}

function defineOfFormat<V extends Bits<V>, F extends Float<F>>(
  module: ModuleBuilder,
  flags: FlagSink,
  carrier: Carrier<V, F>,
  functions: FormatFunctions<'i32'> | FormatFunctions<'i64'>,
): void {
  const { canonicalNaN, infinity, quietBit } = carrier.format;
  const one = (): V => carrier.constant(1n);
  const isNaN = (a: V): I32 => a.shl(one()).gtU(carrier.constant(infinity << 1n));
  const isSignaling = (a: V): I32 =>
    a
      .xor(carrier.constant(quietBit))
      .shl(one())
      .gtU(carrier.constant((infinity | quietBit) << 1n));
  const raiseInvalidIf = (body: Body, condition: I32): void =>
    body.if(condition, () => flags.raise(body, i32(fflags.NV)));
  const define = (ref: FunctionRef, write: (body: Body, a: V, b: V) => void): void => {
    module.define(ref, (body, ...parameters) => {
      const [a, b] = parameters.map((parameter) => parameter.value as unknown as V);
      write(body, a as V, b as V);
    });
  };

  define(functions.eq, (body, a, b) => {
    raiseInvalidIf(body, isSignaling(a).or(isSignaling(b)));
    body.result(carrier.toFloat(a).eq(carrier.toFloat(b)));
  });
  for (const name of ['lt', 'le'] as const) {
    define(functions[name], (body, a, b) => {
      raiseInvalidIf(body, isNaN(a).or(isNaN(b)));
      body.result(carrier.toFloat(a)[name](carrier.toFloat(b)));
    });
  }
  for (const name of ['min', 'max'] as const) {
    define(functions[name], (body, a, b) => {
      const aIsNaN = body.let(isNaN(a));
      const bIsNaN = body.let(isNaN(b));
      body.if(aIsNaN.or(bIsNaN), () => {
        raiseInvalidIf(body, isSignaling(a).or(isSignaling(b)));
        const aOrNaN = select<I32 | I64>(bIsNaN, carrier.constant(canonicalNaN), b);
        body.return(select<I32 | I64>(aIsNaN, aOrNaN, a));
      });
      body.result(carrier.toBits(carrier.toFloat(a)[name](carrier.toFloat(b))));
    });
  }
  define(functions.classify, (body, a) => body.result(classify(body, carrier, a)));
}

/** The one-hot mask of FCLASS: from -infinity (bit 0) up to +infinity (bit 7), then signaling (8) and quiet NaN (9). `a` is a leaf. */
export function classify<V extends Bits<V>, F extends Float<F>>(body: Body, carrier: Carrier<V, F>, a: V): I32 {
  const { infinity, minNormal, quietBit } = carrier.format;
  const magnitude = body.let(a.shl(carrier.constant(1n)));
  const isNegative = body.let(a.and(carrier.constant(carrier.format.signMask)).eqz().eqz());
  // 0 zero, 1 subnormal, 2 normal, 3 infinity
  const size = magnitude
    .eqz()
    .eqz()
    .add(magnitude.geU(carrier.constant(minNormal << 1n)))
    .add(magnitude.geU(carrier.constant(infinity << 1n)));
  // Positive numbers are bits 4 + size, negative ones 3 - size.
  const place = size.xor(i32(0).sub(isNegative)).add(4);
  const isQuiet = a.and(carrier.constant(quietBit)).eqz().eqz();
  const isNaN = magnitude.gtU(carrier.constant(infinity << 1n));
  return body.let(i32(1).shl(select(isNaN, isQuiet.add(8), place)));
}
