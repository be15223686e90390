import { expect, test } from 'vitest';
import { figure, rowsOf, table, type Measured } from './report.ts';
import { targetsOf } from './targets.ts';

const measured: Measured = {
  userlandSeconds: { qemu: [2, 2.1, 9], ringfence: [4.2, 4.2, 4.2] },
  programs: [
    {
      name: 'sort64MB',
      nativeSeconds: [0.5],
      seconds: { qemu: [1, 1, 1], ringfence: [2, 2, 2] },
      check: 'a',
      mips: [],
      instructions: [],
    },
    {
      name: 'sieve8M_x4',
      nativeSeconds: [],
      seconds: { qemu: [1], ringfence: [8] },
      check: 'b',
      mips: [],
      instructions: [],
    },
  ],
  memory: [{ name: 'booted', peakResidentBytes: { qemu: [200e6], ringfence: [300e6] }, guestBytes: [100e6] }],
  mips: [410, 420, 430],
};

test('the table has medians, ratios and what became of each target', () => {
  expect(table('interpreter', rowsOf(measured, targetsOf('interpreter')))).toMatchInlineSnapshot(`
    "                                                   native  QEMU  interpreter  ratio                    target
    process start to userland                    s          -  2.10         4.20   2.00  of its time      <= 3.00  met
    sort64MB                                     s       0.50  1.00         2.00   0.50  of its speed     >= 0.25  met
    sieve8M_x4                                   s          -  1.00         8.00   0.13  of its speed     >= 0.25  MISSED
    geometric mean of the programs                          -     -            -   0.25  of its speed     >= 0.25  met
    compute loop, million instructions a second  MIPS       -     -          420
    peak resident memory, booted                 MB         -   200          300   1.50  of its memory
      guest memory used, booted                  MB         -     -          100
      beside the guest's, booted                 MB         -     -          200                        <= 150 MB  MISSED"
  `);
});

test('what was not measured has no line', () => {
  const nothing: Measured = { userlandSeconds: { qemu: [], ringfence: [] }, programs: [], memory: [], mips: [] };
  expect(rowsOf(nothing, targetsOf('interpreter'))).toEqual([]);
});

test('a figure shows the digits that count', () => {
  expect([412.4, 98.64, 1.006, 0.154, 0.0123].map(figure)).toEqual(['412', '98.6', '1.01', '0.15', '0.012']);
});

test('an engine that there is not is refused with the names of those there are', () => {
  expect(() => targetsOf('jti')).toThrow('There is no engine called jti. The engines are: interpreter.');
});
