import { expect, test } from 'vitest';
import { formatSize, memorySize, parseSize } from './sizes.ts';

test.each([
  ['512M', 512 * 2 ** 20],
  ['2G', 2 ** 31],
  ['1.5g', 1.5 * 2 ** 30],
  ['64MiB', 64 * 2 ** 20],
  ['8k', 8192],
  ['4096', 4096],
  ['0', 0],
])('%s is a size', (text, bytes) => expect(parseSize(text)).toBe(bytes));

test.each(['', 'M', '-1M', '1e9', '12X', '0x10', '1 2', 'NaN', '999999999T', '1.5'])('"%s" is no size', (text) =>
  expect(parseSize(text)).toBeUndefined(),
);

test('memory comes in whole pages and between limits', () => {
  expect(memorySize('100M', 2 ** 20, 2 ** 30)).toBe(100 * 2 ** 20);
  expect(memorySize('2000001', 2 ** 20, 2 ** 30)).toBe(488 * 4096);
  expect(memorySize('100', 2 ** 20, 2 ** 30)).toBe('is too little; the smallest machine has 1 MiB');
  expect(memorySize('2G', 2 ** 20, 2 ** 30)).toBe('is too much; the largest machine has 1 GiB');
  expect(memorySize('much', 2 ** 20, 2 ** 30)).toBe('is no size; write it like 512M or 2G');
});

test('sizes are shown in the unit that fits', () => {
  expect([0, 1023, 1024, 38_273_024, 2 ** 40].map(formatSize)).toEqual(['0 B', '1023 B', '1 KiB', '36.5 MiB', '1 TiB']);
});
