import { expect, test } from 'vitest';

import { DESCRIBED_VERSION, type Difference, compare, differences } from './testing/objdump-differences.ts';
import { objdump, objdumpMissing, objdumpVersion } from './testing/objdump.ts';
import { RandomWords } from './testing/random-words.ts';

/** Of each kind: bits at random, and close to an entry. */
const RANDOM_WORDS = 500_000;
const SHOWN = 20;
const missing = objdumpMissing();
if (missing !== undefined) console.warn(`Not compared with objdump: ${missing}.`);

const used = new Set<Difference>();

function disagreements(words: readonly number[]): string[] {
  const { texts, addresses } = objdump(words);
  const found: string[] = [];
  for (const [index, word] of words.entries()) {
    const comparison = compare(word, addresses[index] ?? 0, texts[index] ?? '');
    if (comparison.kind === 'explained') used.add(comparison.by);
    if (comparison.kind === 'different' && found.push(comparison.sentence) === SHOWN) break;
  }
  return found;
}

test.skipIf(missing)('every 16-bit word is legal or illegal, and reads, as objdump says', () => {
  const words = Array.from({ length: 0x10000 }, (_, word) => word).filter((word) => (word & 3) !== 3);
  expect(disagreements(words)).toEqual([]);
});

test.skipIf(missing)('a million random 32-bit words are legal or illegal, and read, as objdump says', () => {
  const random = new RandomWords(0xc0de);
  const words = Array.from({ length: RANDOM_WORDS }, () => [random.anything(), random.nearAnEntry()])
    .flat()
    .filter((word) => (word & 3) === 3 && (word & 0x1f) !== 0x1f);
  expect(words.length).toBeGreaterThan(RANDOM_WORDS);
  expect(disagreements(words)).toEqual([]);
});

test.skipIf(objdumpVersion() !== DESCRIBED_VERSION)('every known difference from objdump is still there', () => {
  expect(differences.filter((difference) => !used.has(difference)).map(({ reason }) => reason)).toEqual([]);
});
