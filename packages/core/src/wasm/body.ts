/**
 * The body of one WebAssembly function, written statement by statement. Control is structured: blocks, loops and ifs take a function
 * that writes what is inside, and hand it a label to branch to. A branch to a block's label leaves it, to a loop's label repeats it.
 */

import { assert, defined } from '../base/assert.ts';
import { Bytes } from './bytes.ts';
import {
  type AsI32,
  type AsI64,
  type ExpressionOf,
  type F32,
  type F64,
  type I32,
  type I64,
  asI32,
  asI64,
  expressionOf,
} from './expression.ts';
import type { Expression, ValueType } from './expression-base.ts';
import { emitAtomicFence, emitStore } from './memory-access.ts';
import type { FunctionRef, FunctionType, GlobalRef } from './module.ts';

const typeByte: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** Where a branch goes. Made by `block` and `loop`. */
export interface Label {
  readonly depth: number;
}

/** A local variable: `local.value` reads it (any number of times), `Body.set` writes it. */
export interface Local<T extends ValueType> {
  readonly index: number;
  readonly type: T;
  readonly value: ExpressionOf<T>;
}

export type AsExpression = Expression | number | bigint;

/** A conditional branch's position in a body's code, and whether it is usually taken (Branch Hinting proposal). */
export interface BranchHint {
  readonly offset: number;
  readonly taken: boolean;
}

/** A mark of `Body.mark`: which locals were free. */
export interface LocalsMark {
  readonly created: number;
}

export class Body {
  readonly code = new Bytes(256);
  readonly hints: BranchHint[] = [];
  readonly #locals: ValueType[] = [];
  /** Locals given back by `release`, by type, for reuse. */
  readonly #free = new Map<ValueType, number[]>();
  /** Those handed out since the outermost mark, oldest first. */
  readonly #handedOut: { index: number; type: ValueType }[] = [];
  readonly #parameterCount: number;
  readonly #results: readonly ValueType[];
  #depth = 0;

  constructor(parameters: readonly ValueType[], results: readonly ValueType[]) {
    this.#parameterCount = parameters.length;
    this.#results = results;
  }

  /** A new local: zero at the start of the function (not of a loop's pass), or with any value where an earlier one was released. */
  local<T extends ValueType>(type: T): Local<T> {
    let index = this.#free.get(type)?.pop();
    if (index === undefined) {
      this.#locals.push(type);
      index = this.#parameterCount + this.#locals.length - 1;
    }
    this.#handedOut.push({ index, type });
    return localAt(index, type);
  }

  /** A local that `release` leaves alone: zero at the start of the function. */
  lasting<T extends ValueType>(type: T): Local<T> {
    this.#locals.push(type);
    return localAt(this.#parameterCount + this.#locals.length - 1, type);
  }

  /** Locals made from here on can be given back with `release`: many short pieces of code share a few. */
  mark(): LocalsMark {
    return { created: this.#handedOut.length };
  }

  release(mark: LocalsMark): void {
    for (const { index, type } of this.#handedOut.splice(mark.created)) {
      const free = this.#free.get(type);
      if (free) free.push(index);
      else this.#free.set(type, [index]);
    }
  }

  /** Keeps `expression` in a new local, computed here; the result may be used many times. */
  let<E extends I32 | I64 | F32 | F64>(expression: E): E {
    const local = this.local(expression.type);
    this.set(local, expression);
    return local.value as E;
  }

  set<T extends ValueType>(local: Local<T>, value: ExpressionOf<T> | number | bigint): void {
    this.#take(local.type, value)(this.code);
    this.code.byte(0x21);
    this.code.u32(local.index);
  }

  /** Reads a global. */
  getGlobal<T extends 'i32' | 'i64'>(global: GlobalRef<T>): ExpressionOf<T> {
    return expressionOf(global.type, (code) => {
      code.byte(0x23);
      code.u32(global.index);
    });
  }

  setGlobal<T extends 'i32' | 'i64'>(global: GlobalRef<T>, value: ExpressionOf<T> | number | bigint): void {
    this.#take(global.type, value)(this.code);
    this.code.byte(0x24);
    this.code.u32(global.index);
  }

  store8(address: AsI32, value: AsI32, offset = 0): void {
    emitStore(this.code, 'i32:8', address, asI32(value), offset);
  }
  store16(address: AsI32, value: AsI32, offset = 0): void {
    emitStore(this.code, 'i32:16', address, asI32(value), offset);
  }
  store32(address: AsI32, value: AsI32, offset = 0): void {
    emitStore(this.code, 'i32', address, asI32(value), offset);
  }
  store64(address: AsI32, value: AsI64, offset = 0): void {
    const wide = asI64(value);
    if (wide.forms.float) this.storeF64(address, wide.bitsToF64(), offset);
    else emitStore(this.code, 'i64', address, wide, offset);
  }
  store8Of64(address: AsI32, value: AsI64, offset = 0): void {
    emitStore(this.code, 'i64:8', address, asI64(value), offset);
  }
  store16Of64(address: AsI32, value: AsI64, offset = 0): void {
    emitStore(this.code, 'i64:16', address, asI64(value), offset);
  }
  store32Of64(address: AsI32, value: AsI64, offset = 0): void {
    const wide = asI64(value);
    if (wide.forms.narrow) this.store32(address, wide.toI32(), offset);
    else emitStore(this.code, 'i64:32', address, wide, offset);
  }
  storeF64(address: AsI32, value: F64, offset = 0): void {
    emitStore(this.code, 'f64', address, value, offset);
  }
  storeF32(address: AsI32, value: F32, offset = 0): void {
    emitStore(this.code, 'f32', address, value, offset);
  }
  atomicFence(): void {
    emitAtomicFence(this.code);
  }
  /** memory.fill: `length` bytes of `value` from `address`. */
  fill(address: AsI32, value: AsI32, length: AsI32): void {
    for (const operand of [address, value, length]) asI32(operand).take()(this.code);
    this.code.byte(0xfc);
    this.code.u32(11);
    this.code.byte(0);
  }

  /** `likely` tells the host's compiler which way it usually goes. */
  if(condition: I32, whenTrue: () => void, whenFalse?: () => void, likely?: boolean): void {
    condition.take()(this.code);
    this.#hint(likely);
    this.code.byte(0x04);
    this.code.byte(0x40);
    this.#depth++;
    whenTrue();
    if (whenFalse) {
      this.code.byte(0x05);
      whenFalse();
    }
    this.#depth--;
    this.code.byte(0x0b);
  }

  block(inside: (leave: Label) => void): void {
    this.#structured(0x02, inside);
  }

  loop(inside: (again: Label) => void): void {
    this.#structured(0x03, inside);
  }

  /** `count` nested blocks around `inside`; labels[0] is the innermost. Returns with all open but `inside`'s end written by `close`. */
  open(): Label {
    this.code.byte(0x02);
    this.code.byte(0x40);
    return { depth: this.#depth++ };
  }
  /** Ends the innermost block made by `open`. */
  close(): void {
    this.#depth--;
    this.code.byte(0x0b);
  }

  br(label: Label): void {
    this.code.byte(0x0c);
    this.#label(label);
  }

  brIf(label: Label, condition: I32, likely?: boolean): void {
    condition.take()(this.code);
    this.#hint(likely);
    this.code.byte(0x0d);
    this.#label(label);
  }

  brTable(index: I32, targets: readonly Label[], otherwise: Label): void {
    index.take()(this.code);
    this.code.byte(0x0e);
    this.code.u32(targets.length);
    for (const target of targets) this.#label(target);
    this.#label(otherwise);
  }

  return(...values: AsExpression[]): void {
    assert(values.length === this.#results.length, 'a return gives as many values as the function has results');
    values.forEach((value, index) => this.#take(defined(this.#results[index], 'result type'), value)(this.code));
    this.code.byte(0x0f);
  }

  /** The function's last value, where it ends without `return`. */
  result(...values: AsExpression[]): void {
    values.forEach((value, index) => this.#take(defined(this.#results[index], 'result type'), value)(this.code));
  }

  /** A call as a statement; results are dropped. */
  do(target: FunctionRef, ...values: AsExpression[]): void {
    this.#call(target, values)(this.code);
    for (let i = 0; i < target.results.length; i++) this.code.byte(0x1a);
  }

  /** A call as an expression; runs where the expression is consumed. */
  call<T extends ValueType>(target: FunctionRef<T>, ...values: AsExpression[]): ExpressionOf<T> {
    assert(target.results.length === 1, `${target.name} does not give one value`);
    return expressionOf(target.results[0] as T, this.#call(target, values));
  }

  /** A tail call: the current frame is gone. */
  returnCall(target: FunctionRef, ...values: AsExpression[]): void {
    this.#arguments(target, values)(this.code);
    this.code.byte(0x12);
    this.code.u32(target.index);
  }

  /** A tail call of the function at `index` of the table. */
  returnCallIndirect(type: FunctionType, index: I32, ...values: AsExpression[]): void {
    this.#typed(type.parameters, values)(this.code);
    index.take()(this.code);
    this.code.byte(0x13);
    this.code.u32(type.index);
    this.code.byte(0);
  }

  /** Calls the function at `index` of the table and puts its results into `results`. */
  callIndirect(
    type: FunctionType,
    index: I32,
    values: readonly AsExpression[],
    results: readonly Local<ValueType>[],
  ): void {
    assert(results.length === type.results.length, 'a call has as many results as its type says');
    this.#typed(type.parameters, values)(this.code);
    index.take()(this.code);
    this.code.byte(0x11);
    this.code.u32(type.index);
    this.code.byte(0);
    for (const result of results.toReversed()) {
      this.code.byte(0x21);
      this.code.u32(result.index);
    }
  }

  /** Never reached; traps if it is. */
  unreachable(): void {
    this.code.byte(0x00);
  }

  nop(): void {
    this.code.byte(0x01);
  }

  /** The local declarations as the code section wants them, runs of one type together. */
  writeLocals(into: Bytes): void {
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last?.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    into.u32(runs.length);
    for (const run of runs) {
      into.u32(run.count);
      into.byte(typeByte[run.type]);
    }
  }

  #structured(opcode: number, inside: (label: Label) => void): void {
    this.code.byte(opcode);
    this.code.byte(0x40);
    const label = { depth: this.#depth++ };
    inside(label);
    this.#depth--;
    this.code.byte(0x0b);
  }

  #label(label: Label): void {
    assert(label.depth < this.#depth, 'a branch goes to a block that has ended');
    this.code.u32(this.#depth - 1 - label.depth);
  }

  #hint(likely: boolean | undefined): void {
    if (likely !== undefined) this.hints.push({ offset: this.code.length, taken: likely });
  }

  #arguments(target: FunctionRef, values: readonly AsExpression[]): (code: Bytes) => void {
    assert(values.length === target.parameters.length, `${target.name} takes ${target.parameters.length} arguments`);
    return this.#typed(target.parameters, values);
  }

  #typed(parameters: readonly ValueType[], values: readonly AsExpression[]): (code: Bytes) => void {
    assert(values.length === parameters.length, 'a call gives as many arguments as there are parameters');
    const emits = values.map((value, index) => this.#take(defined(parameters[index], 'parameter type'), value));
    return (code) => {
      for (const emit of emits) emit(code);
    };
  }

  #call(target: FunctionRef, values: readonly AsExpression[]): (code: Bytes) => void {
    const emitArguments = this.#arguments(target, values);
    return (code) => {
      emitArguments(code);
      code.byte(0x10);
      code.u32(target.index);
    };
  }

  #take(type: ValueType, value: AsExpression): (code: Bytes) => void {
    const expression = typeof value === 'object' ? value : type === 'i32' ? asI32(Number(value)) : asI64(value);
    assert(expression.type === type, `a ${expression.type} stands where a ${type} belongs`);
    return expression.take();
  }
}

/** The local or parameter with this index. */
export function localAt<T extends ValueType>(index: number, type: T): Local<T> {
  const value = expressionOf(
    type,
    (code) => {
      code.byte(0x20);
      code.u32(index);
    },
    true,
  );
  return { index, type, value };
}

export { typeByte };
