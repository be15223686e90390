import { expect, test } from 'vitest';
import type { ProgramFigures, SideFigures } from './figures.ts';
import { PROGRAMS } from './programs.ts';
import { figure, rowsOf, table, verdict, type Row } from './report.ts';
import { TARGETS } from './targets.ts';

const NOTHING: SideFigures = { userlandSeconds: [], programs: {}, memory: {} };

const taking = (seconds: readonly number[], mips: readonly number[] = []): ProgramFigures => ({
  seconds,
  check: 'a',
  mips,
  instructions: [],
});
const peak = (peakResidentBytes: number, guestBytes: readonly number[] = [], results: readonly string[] = []) => ({
  results,
  peakResidentBytes: [peakResidentBytes],
  guestBytes,
});

const sides = {
  native: { ...NOTHING, programs: { sort64MB: taking([0.5]) } },
  qemu: {
    userlandSeconds: [2, 2.1, 9],
    programs: {
      sort64MB: taking([1, 1, 1]),
      sieve8M_x4: taking([1]),
      loop_20M: taking([1]),
      fft: taking([3]),
      mandel: taking([1]),
    },
    memory: { booted: peak(200e6), programs: peak(200e6, [], ['sort64MB', 'chase64MB_8M']) },
  },
  ringfence: {
    userlandSeconds: [4.2, 4.2, 4.2],
    programs: {
      sort64MB: taking([2, 2, 2]),
      sieve8M_x4: taking([8]),
      loop_20M: taking([2], [410, 420, 430]),
      fft: taking([1]),
      mandel: taking([3]),
    },
    memory: { booted: peak(300e6, [100e6]), programs: peak(300e6, [160e6], ['sort64MB']) },
  },
};

test('the table has medians, ratios and what became of each target', () => {
  expect(table('interpreter', rowsOf(sides, TARGETS.interpreter))).toMatchInlineSnapshot(`
    "                                                   native  QEMU  interpreter  ratio                    target
    process start to userland                    s          -  2.10         4.20   2.00  of its time      <= 3.00  met
    sort64MB                                     s       0.50  1.00         2.00   0.50  of its speed     >= 0.25  met
    sieve8M_x4                                   s          -  1.00         8.00   0.13  of its speed     >= 0.25  MISSED
    geometric mean of 2 of the table's 18                   -     -            -   0.25  of its speed
    loop_20M                                     s          -  1.00         2.00   0.50  of its speed
    compute loop, million instructions a second  MIPS       -     -          420
    mandel                                       s          -  1.00         3.00   0.33  of its speed
    fft                                          s          -  3.00         1.00   3.00  of its speed
    geometric mean of 2 of the wide set's 32                -     -            -   1.00  of its speed
    peak resident memory, booted                 MB         -   200          300   1.50  of its memory
      guest memory used, booted                  MB         -     -          100
      beside the guest's, booted                 MB         -     -          200                        <= 150 MB  MISSED
    peak resident memory, programs               MB         -     -          300
      guest memory used, programs                MB         -     -          160
      beside the guest's, programs               MB         -     -          140                        <= 150 MB  met"
  `);
});

test('another engine is judged by targets of its own', () => {
  expect(table('jit', rowsOf(sides, TARGETS.jit))).toMatchInlineSnapshot(`
    "                                                   native  QEMU   jit  ratio                  target
    process start to userland                    s          -  2.10  4.20   2.00  of its time    <= 1.00  MISSED
    sort64MB                                     s       0.50  1.00  2.00   0.50  of its speed   >= 1.50  MISSED
    sieve8M_x4                                   s          -  1.00  8.00   0.13  of its speed   >= 10.0  MISSED
    geometric mean of 2 of the table's 18                   -     -     -   0.25  of its speed
    loop_20M                                     s          -  1.00  2.00   0.50  of its speed
    compute loop, million instructions a second  MIPS       -     -   420
    mandel                                       s          -  1.00  3.00   0.33  of its speed
    fft                                          s          -  3.00  1.00   3.00  of its speed
    geometric mean of 2 of the wide set's 32                -     -     -   1.00  of its speed
    peak resident memory, booted                 MB         -   200   300   1.50  of its memory  <= 1.00  MISSED
      guest memory used, booted                  MB         -     -   100
      beside the guest's, booted                 MB         -     -   200
    peak resident memory, programs               MB         -     -   300
      guest memory used, programs                MB         -     -   160
      beside the guest's, programs               MB         -     -   140"
  `);
});

/** Every program of the table at this multiple of QEMU's speed. */
function allAt(ratio: number): Row[] {
  const names = PROGRAMS.filter(({ set }) => set === 'table').flatMap(({ results }) => results);
  const programs = (seconds: number) => Object.fromEntries(names.map((name) => [name, taking([seconds])]));
  const qemu = { ...NOTHING, programs: programs(ratio) };
  return rowsOf({ native: NOTHING, qemu, ringfence: { ...NOTHING, programs: programs(1) } }, TARGETS.jit);
}

test('the mean of all of the table is judged', () => {
  const mean = (ratio: number) => allAt(ratio).find(({ name }) => name === "geometric mean of the table's 18")?.target;
  expect([mean(2.51), mean(2.49)]).toEqual([
    { says: '>= 2.50', isMet: true },
    { says: '>= 2.50', isMet: false },
  ]);
});

test('a target that is just reached is met', () => {
  const isMet = Object.fromEntries(allAt(1.5).map(({ name, target }) => [name, target?.isMet]));
  expect(isMet).toMatchObject({ sort64MB: true, gzip32MB: true, indirect_41M: false, chase64MB_8M: true });
});

test('the verdict counts the targets and names those that were missed', () => {
  expect(verdict('jit', allAt(100))).toBe('The jit meets its 19 targets.');
  expect(verdict('jit', allAt(9))).toBe('The jit meets 17 of 19 targets; missed: matmul256x4; sieve8M_x4.');
  expect(verdict('jit', [])).toBe('');
});

test('what was not measured has no line', () => {
  expect(rowsOf({ native: NOTHING, qemu: NOTHING, ringfence: NOTHING }, TARGETS.interpreter)).toEqual([]);
});

test('a figure shows the digits that count', () => {
  expect([412.4, 98.64, 1.006, 0.154, 0.0123].map(figure)).toEqual(['412', '98.6', '1.01', '0.15', '0.012']);
});
