/**
 * What sums of the domain's memory and looks for zeroes are made of: generated code that goes through it in rounds of four words. The sums are
 * for speed: whoever wants other bytes to have the same one can make them so.
 */

import { PAGE_SIZE } from '../base/numbers.ts';
import type { Body, Local } from '../wasm/body.ts';
import type { I32, I64 } from '../wasm/expression.ts';
import { i64 } from '../wasm/expression.ts';
import { load128, load64 } from '../wasm/memory-access.ts';
import type { FunctionRef, ModuleBuilder } from '../wasm/module.ts';

/** Words that a round looks at. */
export const WORDS = 4;
/** And their bytes. */
export const ROUND_BYTES = 8 * WORDS;
/** Of 16 bytes, that are looked at together for zeroes: memory that is in no cache comes while the host looks at what is there. */
const VECTORS = 8;
/** Odd, as many ones as zeros; those of xxHash64. */
const PRIMES = [0x9e37_79b1_85eb_ca87n, 0xc2b2_ae3d_27d4_eb4fn] as const;

/** A sum that is being made: a lane for each word of a round. */
export class LaneSum {
  readonly #body: Body;
  readonly #lanes: readonly Local<'i64'>[];

  /** `seed` is a leaf. */
  constructor(body: Body, seed?: I64) {
    this.#body = body;
    this.#lanes = Array.from({ length: WORDS }, () => body.local('i64'));
    for (const [lane, local] of this.#lanes.entries()) {
      const first = i64(BigInt(lane + 1) * PRIMES[1]);
      body.set(local, seed === undefined ? first : seed.add(first));
    }
  }

  /** Takes in the round at `at`, a leaf. */
  add(at: I32): void {
    for (const [lane, local] of this.#lanes.entries())
      this.#body.set(
        local,
        local.value
          .add(load64(at, 8 * lane).mul(PRIMES[1]))
          .rotl(31)
          .mul(PRIMES[0]),
      );
  }

  /** The lanes mixed into `sum`, all but the last step. */
  mixInto(sum: Local<'i64'>): void {
    const body = this.#body;
    for (const [lane, local] of this.#lanes.entries())
      body.set(sum, sum.value.xor(local.value.rotl(7 * lane + 1)).mul(PRIMES[0]));
    body.set(sum, sum.value.xor(sum.value.shrU(29)).mul(PRIMES[1]));
  }
}

/** A function of that name: 1 when the page at an address is all zeroes. */
export function defineIsZero(module: ModuleBuilder, name: string): FunctionRef {
  return module.function(name, ['i32'], ['i32'], (b, at) => {
    const end = b.let(at.value.add(PAGE_SIZE));
    b.loop((again) => {
      let some = load128(at.value);
      for (let vector = 1; vector < VECTORS; vector++) some = some.or(load128(at.value, 16 * vector));
      b.if(some.anyTrue(), () => b.return(0));
      b.set(at, at.value.add(16 * VECTORS));
      b.brIf(again, at.value.ltU(end));
    });
    b.result(1);
  });
}
