/**
 * What the interpreter's two halves and the JIT share when they write an instruction's meaning in WebAssembly: arithmetic, atomics, boxed
 * singles. Where operands come from, and how memory, control flow, float and system operations go, the subclasses say.
 */

import { assert } from '../base/assert.ts';
import type {
  AtomicKind,
  Emitter,
  FloatBits,
  FloatFormat,
  IntegerFormat,
  LoadKind,
  StoreBytes,
  SystemOperation,
  Value32,
  Value64,
} from '../isa/emitter.ts';
import type { Body, Local } from '../wasm/body.ts';
import { I32, I64, i32, i64, select } from '../wasm/expression.ts';
import {
  atomicCompareExchange32,
  atomicCompareExchange64,
  atomicLoad32,
  atomicLoad64,
  atomicRmw32,
  atomicRmw64,
  load16STo64,
  load16UTo64,
  load32,
  load32STo64,
  load32UTo64,
  load64,
  load8STo64,
  load8UTo64,
} from '../wasm/memory-access.ts';
import type { FunctionRef } from '../wasm/module.ts';
import { HART } from './layout.ts';

/** Canonical NaN of a single, and the upper half that boxes one in a 64-bit register (Unprivileged ISA, 20.3 and 21.2). */
const CANONICAL_NAN_32 = 0x7fc0_0000;
const BOX = -0x1_0000_0000n;

/** The value as this binding makes them: everything the engine hands out is one of its own expressions. */
export function own32(value: Value32): I32 {
  assert(value instanceof I32, 'a value of another emitter');
  return value;
}
export function own64(value: Value64): I64 {
  assert(value instanceof I64, 'a value of another emitter');
  return value;
}

export abstract class WasmEmitter implements Emitter {
  protected readonly body: Body;
  protected readonly hart: I32;
  readonly #multiplyHigh: FunctionRef<'i64'>;

  constructor(body: Body, hart: I32, multiplyHigh: FunctionRef<'i64'>) {
    this.body = body;
    this.hart = hart;
    this.#multiplyHigh = multiplyHigh;
  }

  abstract x(operand: 'rs1' | 'rs2'): I64;
  abstract setX(value: Value64): void;
  abstract imm(): I64;
  abstract imm32(): I32;

  abstract pc(): I64;
  abstract nextPc(): I64;

  constant(value: bigint | number): I64 {
    return i64(value);
  }

  constant32(value: number): I32 {
    return i32(value);
  }

  let<V extends Value32 | Value64>(value: V): V {
    return this.body.let(value as unknown as I32 | I64) as unknown as V;
  }

  select<V extends Value32 | Value64>(condition: Value32, whenTrue: V, whenFalse: V): V {
    return select(own32(condition), whenTrue as unknown as I64, whenFalse as unknown as I64) as unknown as V;
  }

  if(condition: Value32, whenTrue: () => void, whenFalse?: () => void): void {
    this.body.if(own32(condition), whenTrue, whenFalse);
  }

  multiplyHigh(signs: 'ss' | 'su' | 'uu', a: Value64, b: Value64): I64 {
    const left = this.body.let(own64(a));
    const right = this.body.let(own64(b));
    let high = this.body.call(this.#multiplyHigh, left, right);
    // A negative operand counts 2^64 too much: the other operand once too often.
    if (signs !== 'uu') high = high.sub(left.shrS(63).and(right));
    if (signs === 'ss') high = high.sub(right.shrS(63).and(left));
    return high;
  }

  abstract branchIf(condition: Value32): void;
  abstract jumpRelative(): void;
  abstract jumpTo(target: Value64): void;
  abstract load(kind: LoadKind, address: Value64): Value64;
  abstract store(bytes: StoreBytes, address: Value64, value: Value64): void;

  atomic(kind: AtomicKind, bytes: 4 | 8, address: Value64, value: Value64): Value64 {
    const operand = this.body.let(own64(value));
    const host = this.body.let(this.atomicHost(bytes, own64(address), true));
    return atomicOperation(this.body, kind, bytes, host, operand);
  }

  loadReserved(bytes: 4 | 8, address: Value64): Value64 {
    const host = this.body.let(this.atomicHost(bytes, own64(address), false));
    // Atomic loads are ordered like everything atomic here, so .aq and .rl of any instruction ask for nothing more.
    const value = this.body.let(bytes === 4 ? atomicLoad32(host).toI64S() : atomicLoad64(host));
    this.body.store32(this.hart, host, HART.reservation);
    this.body.store64(this.hart, value, HART.reservedValue);
    return value;
  }

  storeConditional(bytes: 4 | 8, address: Value64, value: Value64): Value64 {
    const operand = this.body.let(own64(value));
    const host = this.body.let(this.atomicHost(bytes, own64(address), true));
    const failed = this.body.local('i64');
    this.body.set(failed, 1);
    this.body.if(load32(this.hart, HART.reservation).eq(host), () => {
      const expected = this.body.let(load64(this.hart, HART.reservedValue));
      const changed =
        bytes === 8
          ? atomicCompareExchange64(host, expected, operand).ne(expected)
          : atomicCompareExchange32(host, expected.toI32(), operand.toI32()).ne(expected.toI32());
      this.body.set(failed, changed.toI64U());
    });
    this.body.store32(this.hart, 0, HART.reservation);
    return failed.value;
  }

  f<F extends FloatFormat>(format: F, operand: 'rs1' | 'rs2' | 'rs3'): FloatBits<F> {
    this.requireFloat();
    const raw = this.floatRegister(operand);
    if (format === 'd') return raw as unknown as FloatBits<F>;
    const boxed = this.body.let(raw);
    return this.body.let(select(boxed.geU(BOX), boxed.toI32(), i32(CANONICAL_NAN_32))) as unknown as FloatBits<F>;
  }

  fRaw(operand: 'rs1' | 'rs2'): I64 {
    return this.floatRegister(operand);
  }

  setF<F extends FloatFormat>(format: F, bits: FloatBits<F>): void {
    const raw =
      format === 'd'
        ? own64(bits as Value64)
        : own32(bits as Value32)
            .toI64U()
            .or(BOX);
    this.setFloatRegister(raw);
  }

  abstract requireFloat(): void;
  abstract floatArithmetic<F extends FloatFormat>(
    operation: 'add' | 'sub' | 'mul' | 'div',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F>;
  abstract floatSqrt<F extends FloatFormat>(format: F, a: FloatBits<F>): FloatBits<F>;
  abstract floatFma<F extends FloatFormat>(
    format: F,
    negateProduct: boolean,
    negateAddend: boolean,
    a: FloatBits<F>,
    b: FloatBits<F>,
    c: FloatBits<F>,
  ): FloatBits<F>;
  abstract floatMinMax<F extends FloatFormat>(
    operation: 'min' | 'max',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): FloatBits<F>;
  abstract floatCompare<F extends FloatFormat>(
    operation: 'eq' | 'lt' | 'le',
    format: F,
    a: FloatBits<F>,
    b: FloatBits<F>,
  ): Value64;
  abstract floatClass<F extends FloatFormat>(format: F, a: FloatBits<F>): Value64;
  abstract floatToInteger<F extends FloatFormat>(to: IntegerFormat, format: F, a: FloatBits<F>): Value64;
  abstract integerToFloat<F extends FloatFormat>(format: F, from: IntegerFormat, a: Value64): FloatBits<F>;
  abstract floatConvert(to: 's', from: 'd', a: Value64): Value32;
  abstract floatConvert(to: 'd', from: 's', a: Value32): Value64;
  abstract csr(operation: 'write' | 'set' | 'clear', source: 'register' | 'immediate'): void;
  abstract system(operation: SystemOperation): void;

  /** The host address of a naturally aligned access, with whatever traps that needs done. */
  protected abstract atomicHost(bytes: 4 | 8, address: I64, forWrite: boolean): I32;

  /** The raw bits of a float source register. */
  protected abstract floatRegister(operand: 'rs1' | 'rs2' | 'rs3'): I64;
  /** Writes the float register rd whole. */
  protected abstract setFloatRegister(raw: I64): void;
}

/** Bytes of a cache block, as the device tree says (riscv,cbom-block-size, riscv,cboz-block-size). */
export const CACHE_BLOCK_BYTES = 64;

/** The operands of a * b + c after the sign changes of the fmsub, fnmadd and fnmsub forms. */
export function negateForFma<F extends FloatFormat>(
  format: F,
  product: boolean,
  addend: boolean,
  a: FloatBits<F>,
  b: FloatBits<F>,
  c: FloatBits<F>,
): [FloatBits<F>, FloatBits<F>, FloatBits<F>] {
  const negate = (bits: FloatBits<F>, yes: boolean): FloatBits<F> => {
    if (!yes) return bits;
    return (format === 'd'
      ? own64(bits as Value64).xor(-1n << 63n)
      : own32(bits as Value32).xor(-0x8000_0000)) as unknown as FloatBits<F>;
  };
  return [negate(a, product), b, negate(c, addend)];
}

/** A load of RAM at a host address, extended as `kind` says. */
export function loadHost(kind: LoadKind, host: I32, offset = 0): I64 {
  switch (kind) {
    case 'i8':
      return load8STo64(host, offset);
    case 'u8':
      return load8UTo64(host, offset);
    case 'i16':
      return load16STo64(host, offset);
    case 'u16':
      return load16UTo64(host, offset);
    case 'i32':
      return load32STo64(host, offset);
    case 'u32':
      return load32UTo64(host, offset);
    case 'i64':
      return load64(host, offset);
  }
}

export const loadBytes: Record<LoadKind, StoreBytes> = { i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, u32: 4, i64: 8 };

export function storeHost(body: Body, bytes: StoreBytes, host: I32, value: I64, offset = 0): void {
  if (bytes === 1) body.store8Of64(host, value, offset);
  else if (bytes === 2) body.store16Of64(host, value, offset);
  else if (bytes === 4) body.store32Of64(host, value, offset);
  else body.store64(host, value, offset);
}

const directRmw = { swap: 'xchg', add: 'add', and: 'and', or: 'or', xor: 'xor' } as const;

/** An AMO at a host address; the old value, sign-extended. Minimum and maximum are compare-and-exchange loops. */
function atomicOperation(body: Body, kind: AtomicKind, bytes: 4 | 8, host: I32, operand: I64): I64 {
  const direct = directRmw[kind as keyof typeof directRmw] as (typeof directRmw)[keyof typeof directRmw] | undefined;
  if (direct !== undefined) {
    return bytes === 8 ? atomicRmw64(direct, host, operand) : atomicRmw32(direct, host, operand.toI32()).toI64S();
  }
  const old: Local<'i64'> = body.local('i64');
  const chosen = body.local('i64');
  const other =
    kind === 'minu' || kind === 'maxu'
      ? body.let(bytes === 8 ? operand : operand.and(0xffff_ffffn))
      : body.let(bytes === 8 ? operand : operand.extend32S());
  body.loop((again) => {
    const seen =
      kind === 'minu' || kind === 'maxu'
        ? bytes === 8
          ? load64(host)
          : load32UTo64(host)
        : bytes === 8
          ? load64(host)
          : load32STo64(host);
    body.set(old, seen);
    const takeOld = {
      min: () => old.value.ltS(other),
      max: () => old.value.gtS(other),
      minu: () => old.value.ltU(other),
      maxu: () => old.value.gtU(other),
    }[kind as 'min'];
    body.set(chosen, select(takeOld(), old.value, other));
    if (bytes === 8) body.brIf(again, atomicCompareExchange64(host, old.value, chosen.value).ne(old.value));
    else body.brIf(again, atomicCompareExchange32(host, old.value.toI32(), chosen.value.toI32()).ne(old.value.toI32()));
  });
  return bytes === 8 ? old.value : old.value.extend32S();
}
