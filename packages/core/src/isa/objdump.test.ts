import { expect, test } from 'vitest';

import { assemble } from './assemble.ts';
import { disassemble } from './disassemble.ts';
import { instructions } from './instructions.ts';
import { compare } from './testing/objdump-differences.ts';
import { objdump, objdumpMissing } from './testing/objdump.ts';
import { RandomWords } from './testing/random-words.ts';

const WORDS_PER_ENTRY = 40;
const missing = objdumpMissing();
if (missing !== undefined) console.warn(`Not compared with objdump: ${missing}.`);

test.skipIf(missing)("Every instruction entry round-trips assembler -> disassembler -> binutils' objdump", () => {
  const random = new RandomWords(0x5eed);
  const words = instructions.flatMap((entry) => Array.from({ length: WORDS_PER_ENTRY }, () => random.of(entry)));
  const { texts, addresses } = objdump(words);
  for (const [index, word] of words.entries()) {
    const address = addresses[index] ?? 0;
    const ours = disassemble(word, BigInt(address));
    expect(assemble(ours, BigInt(address)), ours).toBe(word);
    expect(compare(word, address, texts[index] ?? '')).not.toHaveProperty('sentence');
  }
});
