/** Doublewords that the code reaches from its cell register: addresses of code, differences of instructions, what a `longjmp` needs. */

import { assert } from '../../../src/base/assert.ts';
import type { Segment } from '../program.ts';
import { CELLS, CELL_BYTES, CELL_POINTER } from './layout.ts';

export class Cells {
  readonly #values: (() => bigint)[] = [];

  /** Neighbouring cells; the offset of the first one from the cell register. Values are asked for when all code is placed. */
  add(...values: (() => bigint)[]): number {
    const offset = CELLS + 8 * this.#values.length - CELL_POINTER;
    this.#values.push(...values);
    return offset;
  }

  /** Whether there is room for so many more. */
  hasRoom(count: number): boolean {
    return 8 * (this.#values.length + count) <= CELL_BYTES;
  }

  get segment(): Segment {
    assert(this.hasRoom(0), 'the cells lie within reach of their register');
    const values = this.#values.map((value) => BigInt.asUintN(64, value()));
    return { address: CELLS, bytes: new Uint8Array(BigUint64Array.from(values).buffer) };
  }
}
