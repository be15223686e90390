import { mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nodeTime, timespecs } from './attributes.ts';

test('a time comes back as the same microsecond from Node’s utimes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-times-'));
  const file = join(folder, 'file');
  writeFileSync(file, '');
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 4_102_444_800_000_000n }), (microseconds) => {
      utimesSync(file, 0, nodeTime(microseconds * 1000n + 999n));
      expect(statSync(file, { bigint: true }).mtimeNs / 1000n).toBe(microseconds);
    }),
    { numRuns: 300 },
  );
  rmSync(folder, { recursive: true });
});

test('whole seconds are exact, and before 1970 whole milliseconds', () => {
  expect(nodeTime(86_410_000_000_000n)).toBe(86_410);
  expect(nodeTime(-1_500_000_001n)).toEqual(new Date(-1501));
});

test('utimensat gets seconds and nanoseconds that are never negative, and its two special ones', () => {
  const words = (...times: Parameters<typeof timespecs>): bigint[] => [
    ...new BigInt64Array(timespecs(...times).buffer),
  ];
  expect(words(-1n, 1_000_000_001n)).toEqual([-1n, 999_999_999n, 1n, 1n]);
  expect(words('now', undefined)).toEqual([0n, (1n << 30n) - 1n, 0n, (1n << 30n) - 2n]);
});
