/**
 * Typed expressions of WebAssembly. An expression is a recipe: it writes its instructions when the statement that consumes it is
 * written, and it may be consumed once. Constants and locals are leaves and may be consumed any number of times; for anything else
 * `Body.let` gives a local. Building a module checks this, so a value computed twice by mistake is an error and not a slow program.
 */

import { Expression, IMMEDIATE, Recipe, type ValueType, binary, prefixed, unary } from './expression-base.ts';

/** What `T` looks like as an expression. */
export type ExpressionOf<T extends ValueType> = T extends 'i32'
  ? I32
  : T extends 'i64'
    ? I64
    : T extends 'f32'
      ? F32
      : T extends 'f64'
        ? F64
        : V128;

/** A 32-bit integer, or something to make one of. */
export type AsI32 = I32 | number;
/** A 64-bit integer, or something to make one of. */
export type AsI64 = I64 | bigint | number;

export class I32 extends Expression {
  override get type(): 'i32' {
    return 'i32';
  }
  eqz(): I32 {
    return new I32(unary(this, 0x45));
  }
  eq(b: AsI32): I32 {
    return binary32(this, b, 0x46);
  }
  ne(b: AsI32): I32 {
    return binary32(this, b, 0x47);
  }
  ltS(b: AsI32): I32 {
    return binary32(this, b, 0x48);
  }
  ltU(b: AsI32): I32 {
    return binary32(this, b, 0x49);
  }
  gtS(b: AsI32): I32 {
    return binary32(this, b, 0x4a);
  }
  gtU(b: AsI32): I32 {
    return binary32(this, b, 0x4b);
  }
  leS(b: AsI32): I32 {
    return binary32(this, b, 0x4c);
  }
  leU(b: AsI32): I32 {
    return binary32(this, b, 0x4d);
  }
  geS(b: AsI32): I32 {
    return binary32(this, b, 0x4e);
  }
  geU(b: AsI32): I32 {
    return binary32(this, b, 0x4f);
  }
  clz(): I32 {
    return new I32(unary(this, 0x67));
  }
  ctz(): I32 {
    return new I32(unary(this, 0x68));
  }
  popcnt(): I32 {
    return new I32(unary(this, 0x69));
  }
  add(b: AsI32): I32 {
    return binary32(this, b, 0x6a);
  }
  sub(b: AsI32): I32 {
    return binary32(this, b, 0x6b);
  }
  mul(b: AsI32): I32 {
    return binary32(this, b, 0x6c);
  }
  divS(b: AsI32): I32 {
    return binary32(this, b, 0x6d);
  }
  divU(b: AsI32): I32 {
    return binary32(this, b, 0x6e);
  }
  remS(b: AsI32): I32 {
    return binary32(this, b, 0x6f);
  }
  remU(b: AsI32): I32 {
    return binary32(this, b, 0x70);
  }
  and(b: AsI32): I32 {
    return binary32(this, b, 0x71);
  }
  or(b: AsI32): I32 {
    return binary32(this, b, 0x72);
  }
  xor(b: AsI32): I32 {
    return binary32(this, b, 0x73);
  }
  shl(b: AsI32): I32 {
    return binary32(this, b, 0x74);
  }
  shrS(b: AsI32): I32 {
    return binary32(this, b, 0x75);
  }
  shrU(b: AsI32): I32 {
    return binary32(this, b, 0x76);
  }
  rotl(b: AsI32): I32 {
    return binary32(this, b, 0x77);
  }
  rotr(b: AsI32): I32 {
    return binary32(this, b, 0x78);
  }
  extend8S(): I32 {
    return new I32(unary(this, 0xc0));
  }
  extend16S(): I32 {
    return new I32(unary(this, 0xc1));
  }
  toI64S(): I64 {
    const narrow = this.take();
    return new I64(new Recipe(0xac, narrow), this.isLeaf, { narrow });
  }
  toI64U(): I64 {
    return new I64(unary(this, 0xad));
  }
  toF32S(): F32 {
    return new F32(unary(this, 0xb2));
  }
  toF32U(): F32 {
    return new F32(unary(this, 0xb3));
  }
  toF64S(): F64 {
    return new F64(unary(this, 0xb7));
  }
  toF64U(): F64 {
    return new F64(unary(this, 0xb8));
  }
  bitsToF32(): F32 {
    return new F32(unary(this, 0xbe));
  }
}

/** Other recipes for the same 64-bit value, for consumers that can do with less. */
export interface OtherForms {
  /** An i32 of which the value is the sign extension. */
  readonly narrow?: Recipe;
  /** It is the sign extension of its low half, without a recipe of that. */
  readonly isNarrow?: boolean;
  /** An f64 of which the value is the bits. */
  readonly float?: Recipe;
}

const NO_FORMS: OtherForms = {};

export class I64 extends Expression {
  override get type(): 'i64' {
    return 'i64';
  }
  declare readonly forms: OtherForms;

  constructor(recipe: Recipe, isLeaf = false, forms: OtherForms = NO_FORMS) {
    super(recipe, isLeaf);
    this.forms = forms;
  }

  eqz(): I32 {
    return new I32(unary(this, 0x50));
  }
  eq(b: AsI64): I32 {
    return compare(this, b, 0x51);
  }
  ne(b: AsI64): I32 {
    return compare(this, b, 0x52);
  }
  ltS(b: AsI64): I32 {
    return compare(this, b, 0x53);
  }
  ltU(b: AsI64): I32 {
    return compare(this, b, 0x54);
  }
  gtS(b: AsI64): I32 {
    return compare(this, b, 0x55);
  }
  gtU(b: AsI64): I32 {
    return compare(this, b, 0x56);
  }
  leS(b: AsI64): I32 {
    return compare(this, b, 0x57);
  }
  leU(b: AsI64): I32 {
    return compare(this, b, 0x58);
  }
  geS(b: AsI64): I32 {
    return compare(this, b, 0x59);
  }
  geU(b: AsI64): I32 {
    return compare(this, b, 0x5a);
  }
  clz(): I64 {
    return new I64(unary(this, 0x79));
  }
  ctz(): I64 {
    return new I64(unary(this, 0x7a));
  }
  popcnt(): I64 {
    return new I64(unary(this, 0x7b));
  }
  add(b: AsI64): I64 {
    return binary64(this, b, 0x7c);
  }
  sub(b: AsI64): I64 {
    return binary64(this, b, 0x7d);
  }
  mul(b: AsI64): I64 {
    return binary64(this, b, 0x7e);
  }
  divS(b: AsI64): I64 {
    return binary64(this, b, 0x7f);
  }
  divU(b: AsI64): I64 {
    return binary64(this, b, 0x80);
  }
  remS(b: AsI64): I64 {
    return binary64(this, b, 0x81);
  }
  remU(b: AsI64): I64 {
    return binary64(this, b, 0x82);
  }
  and(b: AsI64): I64 {
    return bitwise(this, b, 0x83);
  }
  or(b: AsI64): I64 {
    return bitwise(this, b, 0x84);
  }
  xor(b: AsI64): I64 {
    return bitwise(this, b, 0x85);
  }
  shl(b: AsI64): I64 {
    return binary64(this, b, 0x86);
  }
  shrS(b: AsI64): I64 {
    return binary64(this, b, 0x87);
  }
  shrU(b: AsI64): I64 {
    return binary64(this, b, 0x88);
  }
  rotl(b: AsI64): I64 {
    return binary64(this, b, 0x89);
  }
  rotr(b: AsI64): I64 {
    return binary64(this, b, 0x8a);
  }
  toI32(): I32 {
    const { narrow } = this.forms;
    if (!narrow) return new I32(unary(this, 0xa7));
    this.take();
    return new I32(narrow, this.isLeaf);
  }
  extend8S(): I64 {
    return new I64(unary(this, 0xc2));
  }
  extend16S(): I64 {
    return new I64(unary(this, 0xc3));
  }
  extend32S(): I64 {
    return new I64(unary(this, 0xc4));
  }
  toF32S(): F32 {
    return new F32(unary(this, 0xb4));
  }
  toF32U(): F32 {
    return new F32(unary(this, 0xb5));
  }
  toF64S(): F64 {
    return new F64(unary(this, 0xb9));
  }
  toF64U(): F64 {
    return new F64(unary(this, 0xba));
  }
  bitsToF64(): F64 {
    const { float } = this.forms;
    if (!float) return new F64(unary(this, 0xbf));
    this.take();
    return new F64(float, this.isLeaf);
  }
}

export class F32 extends Expression {
  override get type(): 'f32' {
    return 'f32';
  }
  eq(b: F32): I32 {
    return new I32(binary(this, b, 0x5b));
  }
  ne(b: F32): I32 {
    return new I32(binary(this, b, 0x5c));
  }
  lt(b: F32): I32 {
    return new I32(binary(this, b, 0x5d));
  }
  gt(b: F32): I32 {
    return new I32(binary(this, b, 0x5e));
  }
  le(b: F32): I32 {
    return new I32(binary(this, b, 0x5f));
  }
  ge(b: F32): I32 {
    return new I32(binary(this, b, 0x60));
  }
  abs(): F32 {
    return new F32(unary(this, 0x8b));
  }
  neg(): F32 {
    return new F32(unary(this, 0x8c));
  }
  trunc(): F32 {
    return new F32(unary(this, 0x8f));
  }
  nearest(): F32 {
    return new F32(unary(this, 0x90));
  }
  sqrt(): F32 {
    return new F32(unary(this, 0x91));
  }
  add(b: F32): F32 {
    return new F32(binary(this, b, 0x92));
  }
  sub(b: F32): F32 {
    return new F32(binary(this, b, 0x93));
  }
  mul(b: F32): F32 {
    return new F32(binary(this, b, 0x94));
  }
  div(b: F32): F32 {
    return new F32(binary(this, b, 0x95));
  }
  /** NaN if either is NaN; -0 < +0. */
  min(b: F32): F32 {
    return new F32(binary(this, b, 0x96));
  }
  max(b: F32): F32 {
    return new F32(binary(this, b, 0x97));
  }
  toF64(): F64 {
    return new F64(unary(this, 0xbb));
  }
  bits(): I32 {
    return new I32(unary(this, 0xbc));
  }
  truncSatI32S(): I32 {
    return new I32(prefixed([this], 0xfc, 0));
  }
  truncSatI32U(): I32 {
    return new I32(prefixed([this], 0xfc, 1));
  }
  truncSatI64S(): I64 {
    return new I64(prefixed([this], 0xfc, 4));
  }
  truncSatI64U(): I64 {
    return new I64(prefixed([this], 0xfc, 5));
  }
}

export class F64 extends Expression {
  override get type(): 'f64' {
    return 'f64';
  }
  eq(b: F64): I32 {
    return new I32(binary(this, b, 0x61));
  }
  ne(b: F64): I32 {
    return new I32(binary(this, b, 0x62));
  }
  lt(b: F64): I32 {
    return new I32(binary(this, b, 0x63));
  }
  gt(b: F64): I32 {
    return new I32(binary(this, b, 0x64));
  }
  le(b: F64): I32 {
    return new I32(binary(this, b, 0x65));
  }
  ge(b: F64): I32 {
    return new I32(binary(this, b, 0x66));
  }
  abs(): F64 {
    return new F64(unary(this, 0x99));
  }
  neg(): F64 {
    return new F64(unary(this, 0x9a));
  }
  ceil(): F64 {
    return new F64(unary(this, 0x9b));
  }
  floor(): F64 {
    return new F64(unary(this, 0x9c));
  }
  trunc(): F64 {
    return new F64(unary(this, 0x9d));
  }
  nearest(): F64 {
    return new F64(unary(this, 0x9e));
  }
  sqrt(): F64 {
    return new F64(unary(this, 0x9f));
  }
  add(b: F64): F64 {
    return new F64(binary(this, b, 0xa0));
  }
  sub(b: F64): F64 {
    return new F64(binary(this, b, 0xa1));
  }
  mul(b: F64): F64 {
    return new F64(binary(this, b, 0xa2));
  }
  div(b: F64): F64 {
    return new F64(binary(this, b, 0xa3));
  }
  /** NaN if either is NaN; -0 < +0. */
  min(b: F64): F64 {
    return new F64(binary(this, b, 0xa4));
  }
  max(b: F64): F64 {
    return new F64(binary(this, b, 0xa5));
  }
  /** This magnitude with the sign of `b`. */
  copysign(b: F64): F64 {
    return new F64(binary(this, b, 0xa6));
  }
  toF32(): F32 {
    return new F32(unary(this, 0xb6));
  }
  bits(): I64 {
    const float = this.take();
    return new I64(new Recipe(0xbd, float), this.isLeaf, { float });
  }
  truncSatI32S(): I32 {
    return new I32(prefixed([this], 0xfc, 2));
  }
  truncSatI32U(): I32 {
    return new I32(prefixed([this], 0xfc, 3));
  }
  truncSatI64S(): I64 {
    return new I64(prefixed([this], 0xfc, 6));
  }
  truncSatI64U(): I64 {
    return new I64(prefixed([this], 0xfc, 7));
  }
  /** Both lanes hold this value. */
  splat(): V128 {
    return new V128(prefixed([this], 0xfd, 0x14));
  }
}

export class V128 extends Expression {
  override get type(): 'v128' {
    return 'v128';
  }
  /** f64x2.relaxed_madd: this * b + c, fused or not as the host likes (Relaxed SIMD, 4.1). */
  relaxedMaddF64(b: V128, c: V128): V128 {
    return new V128(prefixed([this, b, c], 0xfd, 0x107));
  }
  or(other: V128): V128 {
    return new V128(prefixed([this, other], 0xfd, 0x50));
  }
  /** 1 when any bit is set. */
  anyTrue(): I32 {
    return new I32(prefixed([this], 0xfd, 0x53));
  }
  laneF64(lane: 0 | 1): F64 {
    return new F64(prefixed([this], 0xfd, 0x21, lane));
  }
}

const binary32 = (a: I32, b: AsI32, opcode: number): I32 => new I32(new Recipe(opcode, a.take(), asI32(b).take()));
const binary64 = (a: I64, b: AsI64, opcode: number): I64 => new I64(new Recipe(opcode, a.take(), asI64(b).take()));

/** Bitwise operations of two sign extensions are the sign extension of the narrow operation. */
function bitwise(a: I64, other: AsI64, opcode: number): I64 {
  const b = asI64(other);
  const recipe = new Recipe(opcode, a.take(), b.take());
  const narrow = bothNarrow(a, b, opcode - 0x12);
  return new I64(recipe, false, narrow ? { narrow } : NO_FORMS);
}

/** Two sign extensions compare as the narrow values do, signed and unsigned. */
function compare(a: I64, other: AsI64, opcode: number): I32 {
  const b = asI64(other);
  const [left, right] = [a.take(), b.take()];
  return new I32(bothNarrow(a, b, opcode - 0x0b) ?? new Recipe(opcode, left, right));
}

/** The operation on the narrow forms of both, if they have them. */
function bothNarrow(a: I64, b: I64, opcode: number): Recipe | undefined {
  const left = a.forms.narrow;
  const right = b.forms.narrow;
  // A constant on its own says nothing of the other.
  return left && right && new Recipe(opcode, left, right);
}

/** Constants in this range are made once. */
const KEPT = { FIRST: -2048, END: 4096 } as const;
const kept32: (I32 | undefined)[] = Array.from({ length: KEPT.END - KEPT.FIRST });
const kept64: (I64 | undefined)[] = Array.from({ length: KEPT.END - KEPT.FIRST });

/** An i32 constant. */
export function i32(value: number): I32 {
  if (value < KEPT.FIRST || value >= KEPT.END) return make32(value);
  return (kept32[value - KEPT.FIRST] ??= make32(value));
}

/** An i64 constant, taken modulo 2^64. */
export function i64(value: bigint | number): I64 {
  const small = Number(value);
  if (small < -0x8000_0000 || small > 0x7fff_ffff)
    return new I64(new Recipe(0x42 | IMMEDIATE.s64, undefined, undefined, 0, { wide: BigInt(value) }), true);
  if (small < KEPT.FIRST || small >= KEPT.END) return make64(small);
  return (kept64[small - KEPT.FIRST] ??= make64(small));
}

const constant = (form: number, value: number): Recipe => new Recipe(form, undefined, undefined, value);

const make32 = (value: number): I32 => new I32(constant(0x41 | IMMEDIATE.s32, value), true);

const make64 = (value: number): I64 =>
  new I64(constant(0x42 | IMMEDIATE.s32, value), true, { narrow: constant(0x41 | IMMEDIATE.s32, value) });

export const f32 = (value: number): F32 => new F32(constant(0x43 | IMMEDIATE.f32, value), true);
export const f64 = (value: number): F64 => new F64(constant(0x44 | IMMEDIATE.f64, value), true);

export function asI32(value: AsI32): I32 {
  return typeof value === 'number' ? i32(value) : value;
}

export function asI64(value: AsI64): I64 {
  return typeof value === 'object' ? value : i64(value);
}

/** An expression of `type` from its recipe. */
export function expressionOf<T extends ValueType>(type: T, recipe: Recipe, isLeaf = false): ExpressionOf<T> {
  const make = type === 'i64' ? I64 : type === 'i32' ? I32 : type === 'f64' ? F64 : type === 'f32' ? F32 : V128;
  return new make(recipe, isLeaf) as ExpressionOf<T>;
}

/** `whenTrue` if `condition` is not zero, else `whenFalse`; both are computed. */
export function select<E extends I32 | I64 | F32 | F64>(condition: I32, whenTrue: E, whenFalse: E): E {
  const [a, b, c] = [whenTrue.take(), whenFalse.take(), condition.take()];
  return expressionOf(whenTrue.type, new Recipe(0x1b, a, b, 0, { rest: [c] })) as E;
}
