/**
 * What IEEE 754-2019 and the F and D chapters of the RISC-V unprivileged specification fix: the two formats as numbers, the five
 * rounding modes (table 36, `frm`) and the five accrued exception flags (table 37, `fflags`).
 */

import { type I32, type I64, i32, i64 } from '../../wasm/expression.ts';

/** Bits of `fflags`. */
export const fflags = { NV: 16, DZ: 8, OF: 4, UF: 2, NX: 1 } as const;

/** Encodings of `rm` and `frm`, once DYN is resolved. */
export const rounding = { RNE: 0, RTZ: 1, RDN: 2, RUP: 3, RMM: 4 } as const;
export type RoundingMode = (typeof rounding)[keyof typeof rounding];

/** A rounding mode in generated code: a number where it is known while the code is written, else an i32 in 0..4. */
export type RoundingOperand = RoundingMode | I32;

/** One binary interchange format; every field is derived from its width and the width of its fraction (IEEE 754-2019, 3.4). */
export interface Format {
  readonly name: 'f32' | 'f64';
  /** The wasm type that carries the raw bits. */
  readonly bits: 'i32' | 'i64';
  readonly width: number;
  readonly fractionBits: number;
  /** All ones in the exponent field: infinities and NaNs. */
  readonly maxExponent: number;
  readonly bias: number;
  readonly signMask: bigint;
  readonly fractionMask: bigint;
  /** The first fraction bit: set in a quiet NaN. */
  readonly quietBit: bigint;
  readonly infinity: bigint;
  /** Also the bits of the smallest magnitude that is normal. */
  readonly minNormal: bigint;
  readonly canonicalNaN: bigint;
}

function format(name: 'f32' | 'f64', bits: 'i32' | 'i64', width: number, fractionBits: number): Format {
  const exponentBits = width - 1 - fractionBits;
  const maxExponent = 2 ** exponentBits - 1;
  const infinity = BigInt(maxExponent) << BigInt(fractionBits);
  const quietBit = 1n << BigInt(fractionBits - 1);
  return {
    name,
    bits,
    width,
    fractionBits,
    maxExponent,
    bias: (maxExponent - 1) / 2,
    signMask: 1n << BigInt(width - 1),
    fractionMask: (1n << BigInt(fractionBits)) - 1n,
    quietBit,
    infinity,
    minNormal: 1n << BigInt(fractionBits),
    canonicalNaN: infinity | quietBit,
  };
}

export const binary32 = format('f32', 'i32', 32, 23);
export const binary64 = format('f64', 'i64', 64, 52);

export const canonicalNaN32: I32 = i32(Number(binary32.canonicalNaN));
export const canonicalNaN64: I64 = i64(binary64.canonicalNaN);
