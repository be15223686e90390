import { expect, test } from 'vitest';
import { fillRandomly, randomBelow, randomOctets } from './random.ts';

test('what is filled is another one each time, to its end', () => {
  const [one, other] = [randomOctets(100_000), randomOctets(100_000)];
  expect(Buffer.compare(one, other)).not.toBe(0);
  expect(new Set(one).size).toBe(256);
  expect(one.subarray(-64).some((octet) => octet !== 0)).toBe(true);
});

test('memory that threads share is filled as well', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(64));
  fillRandomly(shared);
  expect(shared.some((octet) => octet !== 0)).toBe(true);
});

test('numbers are below the end, and every one of them comes', () => {
  const seen = new Set(Array.from({ length: 1000 }, () => randomBelow(7)));
  expect([...seen].toSorted((one, other) => one - other)).toEqual([0, 1, 2, 3, 4, 5, 6]);
});
