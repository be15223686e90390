/** A 32-bit instruction that computes something, for code that is written while the program runs. */

import type { Random } from '../../src/engine/float/testing/vectors.ts';
import { instructions } from '../../src/isa/instructions.ts';
import { randomWord } from './operands.ts';

const entries = instructions.filter(
  (entry) =>
    entry.encoding.bits === 32 &&
    ['I', 'M', 'Zba', 'Zbb', 'Zbs'].includes(entry.extension) &&
    entry.flow === undefined &&
    !entry.syntax.includes('(') &&
    entry.syntax.startsWith('rd,') &&
    entry.name !== 'ctzw',
);

export function plainWord(random: Random, isWritable: (register: number) => boolean): number {
  const writable = Array.from({ length: 32 }, (_, register) => register).filter(isWritable);
  for (;;) {
    const word = randomWord({ random, writable }, random.pick(entries));
    if (word !== undefined) return word;
  }
}
