/**
 * Which pCPU has which hart, in one word each of the domain's memory. Only who has a hart executes it and touches its state; while it executes
 * another one it offers it, and a pCPU that has nothing to do takes it.
 *
 *     had by A ── offer ──> offered by A ── take, by B ──> had by B
 *        ^──── takeBack ────────┘
 *
 * Each arrow away from `offered` is one compare-and-exchange. INVARIANT: at any time at most one pCPU has a hart, and nobody while it is offered.
 */

import { CONTROL } from './layout.ts';

const OFFERED = 0x100;
const PCPU_MASK = 0xff;

export class HartPlaces {
  readonly #i32: Int32Array;
  readonly #own: number;

  /** As pCPU `own` sees them; -1 is somebody who has none. */
  constructor(i32: Int32Array, own: number) {
    this.#i32 = i32;
    this.#own = own;
  }

  /** Hart `id` is pCPU `number`'s, before any of them begins. */
  put(id: number, number: number): void {
    Atomics.store(this.#i32, cell(id), number);
  }

  /** The pCPU that has hart `id`, or offers it. */
  of(id: number): number {
    return Atomics.load(this.#i32, cell(id)) & PCPU_MASK;
  }

  /** Whether this pCPU has it: then nobody else comes near it. */
  has(id: number): boolean {
    return Atomics.load(this.#i32, cell(id)) === this.#own;
  }

  isOffered(id: number): boolean {
    return (Atomics.load(this.#i32, cell(id)) & OFFERED) !== 0;
  }

  /** Others may take a hart that this pCPU has. */
  offer(id: number): void {
    Atomics.store(this.#i32, cell(id), this.#own | OFFERED);
  }

  /** What this pCPU has offered is its own again; false when another one has taken it. */
  takeBack(id: number): boolean {
    return Atomics.compareExchange(this.#i32, cell(id), this.#own | OFFERED, this.#own) === (this.#own | OFFERED);
  }

  /** Takes a hart that another pCPU offers; false when that is over. */
  take(id: number): boolean {
    const before = Atomics.load(this.#i32, cell(id));
    return (
      (before & OFFERED) !== 0 &&
      before !== (this.#own | OFFERED) &&
      Atomics.compareExchange(this.#i32, cell(id), before, this.#own) === before
    );
  }
}

function cell(id: number): number {
  return (CONTROL.places >>> 2) + id;
}
