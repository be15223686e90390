/** What code that is written once for both formats needs to know of each: how bits become a wasm float, and how constants are made. */

import { type F32, type F64, type I32, type I64, i32, i64 } from '../../wasm/expression.ts';
import { type Format, binary32, binary64 } from './formats.ts';

/** The integer operations that I32 and I64 have alike. */
interface BitsLike<V> {
  and(b: V): V;
  xor(b: V): V;
  sub(b: V): V;
  shl(b: V): V;
  eqz(): I32;
  eq(b: V): I32;
  ltU(b: V): I32;
  gtU(b: V): I32;
  geU(b: V): I32;
}

/** The float operations that F32 and F64 have alike. */
interface FloatLike<F> {
  add(b: F): F;
  sub(b: F): F;
  mul(b: F): F;
  div(b: F): F;
  sqrt(): F;
  abs(): F;
  min(b: F): F;
  max(b: F): F;
  eq(b: F): I32;
  ne(b: F): I32;
  lt(b: F): I32;
  le(b: F): I32;
}

/** The raw bits of one format: I32 or I64, whichever V is. */
export type Bits<V> = BitsLike<V> & (I32 | I64);
/** The floats of one format: F32 or F64, whichever F is. */
export type Float<F> = FloatLike<F> & (F32 | F64);

export interface Carrier<V, F> {
  readonly format: Format;
  constant(value: bigint): V;
  toFloat(bits: V): F;
  toBits(float: F): V;
  toF64(bits: V): F64;
}

export const carrier32: Carrier<I32, F32> = {
  format: binary32,
  constant: (value) => i32(Number(value)),
  toFloat: (bits) => bits.bitsToF32(),
  toBits: (float) => float.bits(),
  toF64: (bits) => bits.bitsToF32().toF64(),
};

export const carrier64: Carrier<I64, F64> = {
  format: binary64,
  constant: (value) => i64(value),
  toFloat: (bits) => bits.bitsToF64(),
  toBits: (float) => float.bits(),
  toF64: (bits) => bits.bitsToF64(),
};
