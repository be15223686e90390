import { expect, test } from 'vitest';
import { disagreements, type CheckedRun } from './checks.ts';
import type { Program } from './programs.ts';

const sort: Program = { name: 'sort', set: 'table', results: ['sort64MB'], sameNatively: true, says: '' };
const run = (label: string, check: string | undefined, isNative = false): CheckedRun => ({
  label,
  isNative,
  results: check === undefined ? [] : [{ name: 'sort64MB', check }],
});

test('runs that agree leave nothing to say', () => {
  expect(disagreements([sort], [run('QEMU', '1'), run('Ringfence', '1'), run('native', '1', true)])).toEqual([]);
});

test('a wrong check is named with everyone who gave one', () => {
  expect(disagreements([sort], [run('QEMU', '1'), run('Ringfence', '2')])).toEqual([
    'sort64MB has different checks: 1 on QEMU, 2 on Ringfence.',
  ]);
});

test('a program that gave no result is missed in a guest, and not natively', () => {
  expect(
    disagreements([sort], [run('QEMU', '1'), run('Ringfence', undefined), run('native', undefined, true)]),
  ).toEqual(['sort64MB gave no result on Ringfence.']);
});

test('a native check counts only where the program computes the same everywhere', () => {
  const runs = [run('QEMU', '1'), run('Ringfence', '1'), run('native', '3', true)];
  expect(disagreements([sort], runs)).toHaveLength(1);
  expect(disagreements([{ ...sort, sameNatively: false }], runs)).toEqual([]);
});
