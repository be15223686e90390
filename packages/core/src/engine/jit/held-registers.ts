/** The locals that hold a region's guest registers, and how these get there and back. */

import { defined } from '../../base/assert.ts';
import type { Body, Local } from '../../wasm/body.ts';
import type { I32 } from '../../wasm/expression.ts';
import { load64 } from '../../wasm/memory-access.ts';
import { HART } from '../layout.ts';
import type { RegisterLocals } from './op-emitter.ts';
import { type Register, type RegisterSet, registersOf } from './registers.ts';

export class HeldRegisters implements RegisterLocals {
  readonly #body: Body;
  readonly #hart: I32;
  readonly #xs = new Map<number, Local<'i64'>>();
  readonly #fs = new Map<number, Local<'f64'>>();
  readonly #narrows = new Map<number, Local<'i32'>>();
  /** Mask of the registers that are held by their low halves. */
  #lowHalves = 0;

  constructor(body: Body, hart: I32, used: RegisterSet) {
    this.#body = body;
    this.#hart = hart;
    for (const { file, number } of registersOf(used)) {
      if (file === 'x') this.#xs.set(number, body.local('i64'));
      else this.#fs.set(number, body.local('f64'));
    }
  }

  x(number: number): Local<'i64'> {
    return defined(this.#xs.get(number), 'a register of the region');
  }

  f(number: number): Local<'f64'> {
    return defined(this.#fs.get(number), 'a register of the region');
  }

  narrow(number: number): Local<'i32'> {
    const known = this.#narrows.get(number) ?? this.#body.lasting('i32');
    this.#narrows.set(number, known);
    return known;
  }

  isLowHalf(number: number): boolean {
    return ((this.#lowHalves >>> number) & 1) === 1;
  }

  /** What `write` writes holds the registers of `mask` by their low halves; of those in `live` the low halves are made before. */
  withLowHalves(mask: number, live: RegisterSet, write: () => void): void {
    for (const { number } of registersOf({ x: mask & live.x, f: 0 }))
      this.#body.set(this.narrow(number), this.x(number).value.toI32());
    this.#lowHalves = mask;
    write();
    this.#lowHalves = 0;
  }

  /** Makes whole what is held by low halves, for code behind that holds it so, of what is in `live`. */
  widen(live: RegisterSet): void {
    for (const { number } of registersOf({ x: this.#lowHalves & live.x, f: 0 }))
      this.#body.set(this.x(number), this.narrow(number).value.toI64S());
  }

  /** From the hart's state. */
  load(set: RegisterSet): void {
    for (const { file, number } of registersOf(set)) {
      if (file === 'x') this.#body.set(this.x(number), load64(this.#hart, HART.x + 8 * number));
      else this.#body.set(this.f(number), load64(this.#hart, HART.f + 8 * number).bitsToF64());
    }
  }

  /** To the hart's state. */
  store(set: RegisterSet): void {
    for (const register of registersOf(set)) this.storeOne(register);
  }

  storeOne({ file, number }: Register): void {
    if (file === 'x') {
      const value = this.isLowHalf(number) ? this.narrow(number).value.toI64S() : this.x(number).value;
      this.#body.store64(this.#hart, value, HART.x + 8 * number);
    } else this.#body.storeF64(this.#hart, this.f(number).value, HART.f + 8 * number);
  }
}
