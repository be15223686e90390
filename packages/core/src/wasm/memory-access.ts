/**
 * Loads, stores and atomics of WebAssembly as expressions (Core Specification 5.4.6; Threads proposal for the atomics). Addresses are
 * i32, `offset` is the constant that the instruction carries. Alignment hints are the honest minimum for plain accesses, natural for atomics.
 */

import type { Bytes } from './bytes.ts';
import { I32, I64, V128, type AsI32, type AsI64, asI32, asI64 } from './expression.ts';
import { type Expression, IMMEDIATE, Recipe, withOperands } from './expression-base.ts';

function load(opcode: number, address: AsI32, offset: number): Recipe {
  return loadFrom(opcode, asI32(address).take(), offset);
}

function loadFrom(opcode: number, address: Recipe, offset: number): Recipe {
  return new Recipe(opcode | IMMEDIATE.memory, address, undefined, offset);
}

export const load32 = (address: AsI32, offset = 0): I32 => new I32(load(0x28, address, offset));
/** Has the form of an f64 too. */
export const load64 = (address: AsI32, offset = 0): I64 => {
  const from = asI32(address).take();
  return new I64(loadFrom(0x29, from, offset), false, { float: loadFrom(0x2b, from, offset) });
};
export const load8U = (address: AsI32, offset = 0): I32 => new I32(load(0x2d, address, offset));
export const load16U = (address: AsI32, offset = 0): I32 => new I32(load(0x2f, address, offset));
export const load8STo64 = (address: AsI32, offset = 0): I64 => new I64(load(0x30, address, offset));
export const load8UTo64 = (address: AsI32, offset = 0): I64 => new I64(load(0x31, address, offset));
export const load16STo64 = (address: AsI32, offset = 0): I64 => new I64(load(0x32, address, offset));
export const load16UTo64 = (address: AsI32, offset = 0): I64 => new I64(load(0x33, address, offset));
export const load32STo64 = (address: AsI32, offset = 0): I64 =>
  new I64(load(0x34, address, offset), false, { isNarrow: true });
export const load32UTo64 = (address: AsI32, offset = 0): I64 => new I64(load(0x35, address, offset));

/** v128.load (5.4.7). */
export const load128 = (address: AsI32, offset = 0): V128 =>
  new V128(withOperands([asI32(address)], 0xfd | IMMEDIATE.atomic, 0, [0, offset]));

/** A statement that stores: written at once when `Body` takes it. */
export type StoreKind = 'i32' | 'i64' | 'f32' | 'f64' | 'i32:8' | 'i32:16' | 'i64:8' | 'i64:16' | 'i64:32';
const storeOpcode: Record<StoreKind, number> = {
  i32: 0x36,
  i64: 0x37,
  f32: 0x38,
  f64: 0x39,
  'i32:8': 0x3a,
  'i32:16': 0x3b,
  'i64:8': 0x3c,
  'i64:16': 0x3d,
  'i64:32': 0x3e,
};

export function emitStore(code: Bytes, kind: StoreKind, address: AsI32, value: Expression, offset: number): void {
  asI32(address).take().write(code);
  value.take().write(code);
  code.byte(storeOpcode[kind]);
  code.u32(0);
  code.u32(offset);
}

/** Read-modify-write operations that wasm has; the rest are built from compare-and-exchange. */
export type AtomicOperation = 'add' | 'sub' | 'and' | 'or' | 'xor' | 'xchg';
const rmwOpcode: Record<AtomicOperation, number> = { add: 0x1e, sub: 0x25, and: 0x2c, or: 0x33, xor: 0x3a, xchg: 0x41 };

function atomic(opcode: number, alignLog2: number, operands: readonly Expression[], offset: number): Recipe {
  return withOperands(operands, 0xfe | IMMEDIATE.atomic, opcode, [alignLog2, offset]);
}

export const atomicLoad32 = (address: AsI32, offset = 0): I32 => new I32(atomic(0x10, 2, [asI32(address)], offset));
export const atomicLoad64 = (address: AsI32, offset = 0): I64 => new I64(atomic(0x11, 3, [asI32(address)], offset));
export const atomicRmw32 = (operation: AtomicOperation, address: AsI32, value: AsI32, offset = 0): I32 =>
  new I32(atomic(rmwOpcode[operation], 2, [asI32(address), asI32(value)], offset));
export const atomicRmw64 = (operation: AtomicOperation, address: AsI32, value: AsI64, offset = 0): I64 =>
  new I64(atomic(rmwOpcode[operation] + 1, 3, [asI32(address), asI64(value)], offset));
export const atomicCompareExchange32 = (address: AsI32, expected: AsI32, replacement: AsI32, offset = 0): I32 =>
  new I32(atomic(0x48, 2, [asI32(address), asI32(expected), asI32(replacement)], offset));
export const atomicCompareExchange64 = (address: AsI32, expected: AsI64, replacement: AsI64, offset = 0): I64 =>
  new I64(atomic(0x49, 3, [asI32(address), asI64(expected), asI64(replacement)], offset));

export function emitAtomicFence(code: Bytes): void {
  code.byte(0xfe);
  code.u32(3);
  code.byte(0);
}
