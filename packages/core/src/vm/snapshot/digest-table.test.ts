import { describe, expect, test } from 'vitest';
import { DIGEST_WORDS, DigestTable } from './digest-table.ts';

const SEED = '0123456789abcdef0123456789abcdef';
/** More than there is room for at first. */
const COUNT = 40_000;

/** Digests whose words are as alike as a guest can make them. */
function alike(count: number): Uint32Array {
  const words = new Uint32Array(count * DIGEST_WORDS);
  for (let n = 0; n < count; n++) words.set([n << 16, n % 7, 0xffff_ffff, n], n * DIGEST_WORDS);
  return words;
}

describe('a table of digests', () => {
  test('gives for each what was set for it, and for others nothing, however many there are', () => {
    const table = new DigestTable(SEED);
    const digests = alike(2 * COUNT);
    for (let n = 0; n < COUNT; n++) table.set(digests, n * DIGEST_WORDS, n === 0 ? -1 : n * 2 ** 20);
    for (let n = 0; n < COUNT; n++) expect(table.get(digests, n * DIGEST_WORDS)).toBe(n === 0 ? -1 : n * 2 ** 20);
    for (let n = COUNT; n < 2 * COUNT; n++) expect(table.get(digests, n * DIGEST_WORDS)).toBeUndefined();
  });

  test('has the last value that was set', () => {
    const table = new DigestTable(SEED);
    const digests = Uint32Array.of(9, 9, 1, 2, 3, 4);
    table.set(digests, 2, 5);
    table.set(digests, 2, 0);
    expect(table.get(digests, 2)).toBe(0);
    expect(table.get(digests, 1)).toBeUndefined();
  });
});
