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
import { type Expression, IMMEDIATE, Recipe, type ValueType, withOperands } from './expression-base.ts';
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

/** A mark of `Body.mark`: which locals were free. */
export interface LocalsMark {
  readonly created: number;
}

/** Room for the code of most functions. */
const CODE_BYTES = 4096;

export class Body {
  readonly code = new Bytes(CODE_BYTES);
  /** Conditional branches of which one way is usual (Branch Hinting proposal): twice the position in the code, plus 1 for taken. */
  readonly hints: number[] = [];
  readonly #locals: ValueType[] = [];
  /** Locals given back by `release`, by type, for reuse. */
  readonly #freeI32: Local<ValueType>[] = [];
  readonly #freeI64: Local<ValueType>[] = [];
  readonly #freeOthers = new Map<ValueType, Local<ValueType>[]>();
  /** Those handed out since the outermost mark, oldest first. */
  readonly #handedOut: Local<ValueType>[] = [];
  #declarations: Uint8Array | undefined;
  readonly #parameterCount: number;
  readonly #results: readonly ValueType[];
  #depth = 0;

  constructor(parameters: readonly ValueType[], results: readonly ValueType[]) {
    this.#parameterCount = parameters.length;
    this.#results = results;
  }

  /** A new local: zero at the start of the function (not of a loop's pass), or with any value where an earlier one was released. */
  local<T extends ValueType>(type: T): Local<T> {
    const local = (this.#freeOf(type)?.pop() as Local<T> | undefined) ?? this.lasting(type);
    this.#handedOut.push(local);
    return local;
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

  release({ created }: LocalsMark): void {
    for (let index = created; index < this.#handedOut.length; index++) {
      const local = defined(this.#handedOut[index], 'a local');
      const free = this.#freeOf(local.type);
      if (free) free.push(local);
      else this.#freeOthers.set(local.type, [local]);
    }
    this.#handedOut.length = created;
  }

  #freeOf(type: ValueType): Local<ValueType>[] | undefined {
    return type === 'i64' ? this.#freeI64 : type === 'i32' ? this.#freeI32 : this.#freeOthers.get(type);
  }

  /** Keeps `expression` in a new local, computed here; the result may be used many times. */
  let<E extends I32 | I64 | F32 | F64>(expression: E): E {
    const recipe = expression.take();
    const local = this.local(expression.type);
    recipe.write(this.code);
    this.code.byte(0x21);
    this.code.u32(local.index);
    return local.value as E;
  }

  set<T extends ValueType>(local: Local<T>, value: ExpressionOf<T> | number | bigint): void {
    this.#put(local.type, value);
    this.code.byte(0x21);
    this.code.u32(local.index);
  }

  /** Reads a global. */
  getGlobal<T extends 'i32' | 'i64'>(global: GlobalRef<T>): ExpressionOf<T> {
    return expressionOf(global.type, new Recipe(0x23 | IMMEDIATE.u32, undefined, undefined, global.index));
  }

  setGlobal<T extends 'i32' | 'i64'>(global: GlobalRef<T>, value: ExpressionOf<T> | number | bigint): void {
    this.#put(global.type, value);
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
    for (const operand of [address, value, length]) this.#put('i32', operand);
    this.code.byte(0xfc);
    this.code.u32(11);
    this.code.byte(0);
  }

  /** `likely` tells the host's compiler which way it usually goes. */
  if(condition: I32, whenTrue: () => void, whenFalse?: () => void, likely?: boolean): void {
    condition.take().write(this.code);
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
    condition.take().write(this.code);
    this.#hint(likely);
    this.code.byte(0x0d);
    this.#label(label);
  }

  brTable(index: I32, targets: readonly Label[], otherwise: Label): void {
    index.take().write(this.code);
    this.code.byte(0x0e);
    this.code.u32(targets.length);
    for (const target of targets) this.#label(target);
    this.#label(otherwise);
  }

  return(...values: AsExpression[]): void {
    assert(values.length === this.#results.length, 'a return gives as many values as the function has results');
    this.#putAll(this.#results, values);
    this.code.byte(0x0f);
  }

  /** The function's last value, where it ends without `return`. */
  result(...values: AsExpression[]): void {
    this.#putAll(this.#results, values);
  }

  /** A call as a statement; results are dropped. */
  do(target: FunctionRef, ...values: AsExpression[]): void {
    this.#putArguments(target, values);
    this.code.byte(0x10);
    this.code.u32(target.index);
    for (let i = 0; i < target.results.length; i++) this.code.byte(0x1a);
  }

  /** A call as an expression; runs where the expression is consumed. */
  call<T extends ValueType>(target: FunctionRef<T>, ...values: AsExpression[]): ExpressionOf<T> {
    assert(target.results.length === 1, `${target.name} does not give one value`);
    assertCount(target, values);
    const operands = values.map((value, index) => typed(defined(target.parameters[index], 'parameter type'), value));
    return expressionOf(target.results[0] as T, withOperands(operands, 0x10 | IMMEDIATE.u32, target.index));
  }

  /** A tail call: the current frame is gone. */
  returnCall(target: FunctionRef, ...values: AsExpression[]): void {
    this.#putArguments(target, values);
    this.code.byte(0x12);
    this.code.u32(target.index);
  }

  /** A tail call of the function at `index` of the table. */
  returnCallIndirect(type: FunctionType, index: I32, ...values: AsExpression[]): void {
    this.#putAll(type.parameters, values);
    index.take().write(this.code);
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
    this.#putAll(type.parameters, values);
    index.take().write(this.code);
    this.code.byte(0x11);
    this.code.u32(type.index);
    this.code.byte(0);
    for (let at = results.length - 1; at >= 0; at--) {
      this.code.byte(0x21);
      this.code.u32(defined(results[at], 'a result').index);
    }
  }

  /** Never reached; traps if it is. */
  unreachable(): void {
    this.code.byte(0x00);
  }

  nop(): void {
    this.code.byte(0x01);
  }

  /** The local declarations as the code section wants them, runs of one type together. For when the body is written. */
  get locals(): Uint8Array {
    return (this.#declarations ??= this.#declareLocals());
  }

  #declareLocals(): Uint8Array {
    const into = new Bytes(64);
    const locals = this.#locals;
    let runs = 0;
    for (let index = 0; index < locals.length; index++) if (locals[index] !== locals[index - 1]) runs++;
    into.u32(runs);
    for (let index = 0, end = 0; index < locals.length; index = end) {
      const type = defined(locals[index], 'a local');
      while (locals[end] === type) end++;
      into.u32(end - index);
      into.byte(typeByte[type]);
    }
    return into.view();
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
    if (likely !== undefined) this.hints.push(2 * this.code.length + (likely ? 1 : 0));
  }

  #putArguments(target: FunctionRef, values: readonly AsExpression[]): void {
    assertCount(target, values);
    this.#putAll(target.parameters, values);
  }

  #putAll(types: readonly ValueType[], values: readonly AsExpression[]): void {
    assert(values.length === types.length, 'there are as many values as there are types');
    for (let index = 0; index < values.length; index++)
      this.#put(defined(types[index], 'a type'), defined(values[index], 'a value'));
  }

  /** Writes what computes `value`. */
  #put(type: ValueType, value: AsExpression): void {
    typed(type, value).take().write(this.code);
  }
}

function assertCount(target: FunctionRef, values: readonly AsExpression[]): void {
  if (values.length !== target.parameters.length)
    assert(false, `${target.name} takes ${target.parameters.length} arguments`);
}

function typed(type: ValueType, value: AsExpression): Expression {
  if (typeof value !== 'object') return type === 'i32' ? asI32(Number(value)) : asI64(value);
  if (value.type !== type) assert(false, `a ${value.type} stands where a ${type} belongs`);
  return value;
}

/** The local or parameter with this index. */
export function localAt<T extends ValueType>(index: number, type: T): Local<T> {
  const value = expressionOf(type, new Recipe(0x20 | IMMEDIATE.u32, undefined, undefined, index), true);
  return { index, type, value };
}

export { typeByte };
