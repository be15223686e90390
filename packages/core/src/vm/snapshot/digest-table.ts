/**
 * Which pages are stored already, by the first PAGE_DIGEST_BYTES of their SHA-256, four words of them: a hash table with the words where they are looked for, as
 * every page of a guest is, once for each snapshot.
 *
 * What guests have in their pages decides where these are looked for, so a seed that no guest knows does, too.
 */

import { assert } from '../../base/assert.ts';

/** Of a digest. */
export const DIGEST_WORDS = 4;
/** Room for what a guest that has just booted holds. */
const SMALLEST = 32_768;

export class DigestTable {
  readonly #seeds: readonly [number, number];
  /** A power of two. */
  #capacity = SMALLEST;
  #words = new Uint32Array(SMALLEST * DIGEST_WORDS);
  #values = new Float64Array(SMALLEST).fill(NaN);
  #size = 0;

  /** `seed`: hexadecimal digits that nobody can guess. */
  constructor(seed: string) {
    const [first, second] = [seed.slice(0, 8), seed.slice(8, 16)].map((digits) => Number.parseInt(digits, 16) | 1);
    assert(first !== undefined && second !== undefined, 'a seed of sixteen digits');
    this.#seeds = [first, second];
  }

  /** What was set for the digest whose words begin at `at`. */
  get(digests: Uint32Array, at: number): number | undefined {
    const value = this.#values[this.#slotOf(digests, at)];
    return value === undefined || Number.isNaN(value) ? undefined : value;
  }

  set(digests: Uint32Array, at: number, value: number): void {
    if (2 * this.#size >= this.#capacity) this.#grow();
    const slot = this.#slotOf(digests, at);
    if (Number.isNaN(this.#values[slot])) {
      this.#size++;
      for (let n = 0; n < DIGEST_WORDS; n++) this.#words[slot * DIGEST_WORDS + n] = digests[at + n] ?? 0;
    }
    this.#values[slot] = value;
  }

  /** Where the digest is, or would be. INVARIANT: half of all slots are empty. */
  #slotOf(digests: Uint32Array, at: number): number {
    const [a = 0, b = 0, c = 0, d = 0] = [digests[at], digests[at + 1], digests[at + 2], digests[at + 3]];
    const words = this.#words;
    const mixed = Math.imul(a, this.#seeds[0]) ^ Math.imul(b, this.#seeds[1]);
    let slot = (mixed ^ (mixed >>> 15)) & (this.#capacity - 1);
    while (!Number.isNaN(this.#values[slot])) {
      const at4 = slot * DIGEST_WORDS;
      if (words[at4] === a && words[at4 + 1] === b && words[at4 + 2] === c && words[at4 + 3] === d) return slot;
      slot = (slot + 1) & (this.#capacity - 1);
    }
    return slot;
  }

  #grow(): void {
    const [words, values] = [this.#words, this.#values];
    this.#capacity *= 2;
    this.#words = new Uint32Array(this.#capacity * DIGEST_WORDS);
    this.#values = new Float64Array(this.#capacity).fill(NaN);
    this.#size = 0;
    for (const [slot, value] of values.entries()) if (!Number.isNaN(value)) this.set(words, slot * DIGEST_WORDS, value);
  }
}
