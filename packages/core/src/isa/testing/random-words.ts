/** Instruction words for tests, from a seed: of one entry with its operands at random, of any entry with a bit wrong, or of anything. */

import type { Field } from '../encoding.ts';
import { encode } from '../encode.ts';
import { fieldValue } from '../encoding.ts';
import type { Instruction } from '../instruction.ts';
import { instructions } from '../instructions.ts';
import { operandsOf } from '../operands.ts';

export class RandomWords {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  /** 32 random bits (Marsaglia's xorshift). */
  bits(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  below(limit: number): number {
    return this.bits() % limit;
  }

  /** A 32-bit instruction word that is not the start of a longer encoding: bits 1:0 are 11, bits 4:2 are not 111. */
  anything(): number {
    const word = (this.bits() | 3) >>> 0;
    return (word & 0x1f) === 0x1f ? (word ^ (4 << this.below(3))) >>> 0 : word;
  }

  /** A word of some 32-bit entry, every field at random, in half of the cases with one bit inverted. */
  nearAnEntry(): number {
    const full = instructions.filter(({ encoding }) => encoding.bits === 32);
    const { mask, match } = full[this.below(full.length)]?.encoding ?? { mask: 0, match: 3 };
    const word = match | (this.bits() & ~mask) | 0;
    return (this.below(2) === 0 ? word : word ^ (4 << this.below(30))) >>> 0;
  }

  /** A word of `entry`: the operands it is written with at random, often all zeros or all ones; its other fields 0 (rm: a legal mode). */
  of(entry: Instruction): number {
    const fields = operandsOf(entry).flatMap((operand): Field[] => {
      if (operand.kind === 'implied') return [];
      if (operand.kind !== 'address') return [operand.field];
      return [operand.offset, operand.base].filter((part) => typeof part === 'object');
    });
    const ordering = [...entry.encoding.fields.values()].filter(({ name }) => name === 'aq' || name === 'rl');
    for (;;) {
      const values = [...fields, ...ordering].map((field) => [field.name, this.#valueOf(field)] as const);
      const word = encode(entry, Object.fromEntries(values));
      if (typeof word === 'number') return word;
    }
  }

  #valueOf(field: Field): number {
    const pattern = [0, 0xffff_ffff, this.bits(), this.bits(), this.bits()][this.below(5)] ?? 0;
    const value = fieldValue(field, pattern);
    return field.name === 'rm' && (value === 5 || value === 6) ? 7 : value;
  }
}
