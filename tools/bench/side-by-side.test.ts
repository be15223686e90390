import { expect, test } from 'vitest';
import { sideBySide } from './side-by-side.ts';

test('each load has its medians, their ratio, and all ratios a geometric mean; what was not measured is a dash', () => {
  const measured = {
    ringfence: new Map([
      ['read', [100, 400, 200]],
      ['write', [50]],
    ]),
    qemu: new Map([['read', [100]]]),
  };
  expect(sideBySide('requests', ['read', 'write'], measured)).toEqual([
    'requests    ringfence       qemu   ratio',
    'read              200        100    2.00',
    'write              50          -       -',
    'geometric mean of the ratios 2.00',
  ]);
});
