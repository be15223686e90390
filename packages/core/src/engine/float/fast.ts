/**
 * The inline forms of every operation, for the interpreter and the JIT. They are never wrong: where wasm's result cannot be trusted
 * with its flags, they call the function.
 */

import type { I32, I64 } from '../../wasm/expression.ts';
import { carrier32, carrier64 } from './carrier.ts';
import { arithmeticEmitters, fusedEmitter32, fusedEmitter64, unfusedEmitter64 } from './fast-arithmetic.ts';
import { compareEmitters } from './fast-compare.ts';
import { formatEmitters, fromIntegerEmitters32, fromIntegerEmitters64, toIntegerEmitters } from './fast-convert.ts';
import type { FlagSink, FloatEmitters, FormatEmitters } from './index.ts';
import type { FloatFunctions } from './signatures.ts';

export interface FastFloatOptions {
  /** What `probeFusedMultiplyAdd` of probe.ts says of this host. */
  readonly fusedMultiplyAdd: boolean;
}

/** `functions` are those of the module that is written: made by `defineFloat` in it, or imported by `importFloat`. */
export function fastFloat(functions: FloatFunctions, flags: FlagSink, options: FastFloatOptions): FloatEmitters {
  const f32: FormatEmitters<I32> = {
    ...arithmeticEmitters(carrier32, functions.f32, flags),
    fma: fusedEmitter32(functions, flags),
    ...compareEmitters(carrier32, functions.f32),
    ...toIntegerEmitters(carrier32, functions.f32, flags),
    ...fromIntegerEmitters32(functions.f32, flags),
  };
  const f64: FormatEmitters<I64> = {
    ...arithmeticEmitters(carrier64, functions.f64, flags),
    fma: options.fusedMultiplyAdd ? fusedEmitter64(functions, flags) : unfusedEmitter64(functions),
    ...compareEmitters(carrier64, functions.f64),
    ...toIntegerEmitters(carrier64, functions.f64, flags),
    ...fromIntegerEmitters64(functions.f64, flags),
  };
  return { f32, f64, convert: formatEmitters(functions.convert, flags) };
}
