import { expect, test } from 'vitest';
import { BOOT_GROUP, checkedFigures, checkedRuns, figuresOf, type GroupRuns, type SideRun } from './figures.ts';
import { choosePrograms } from './programs.ts';

const sorted = (seconds: number, check = 'a'): SideRun => ({
  results: [{ name: 'sort64MB', seconds, check, mips: 100, instructions: undefined }],
  userlandSeconds: 7,
  peakResidentBytes: 300,
  guestBytes: 100,
});
const groups: readonly GroupRuns[] = [
  { group: BOOT_GROUP, runs: [{ results: [], userlandSeconds: 2, peakResidentBytes: 200, guestBytes: 50 }] },
  { group: { name: 'programs', programs: choosePrograms(['sort', 'chase']) }, runs: [sorted(1), sorted(2)] },
];

test('figures stand by program and by group, one per round; start to userland is that of the boot alone', () => {
  expect(figuresOf(groups)).toEqual({
    userlandSeconds: [2],
    programs: { sort64MB: { seconds: [1, 2], check: 'a', mips: [100, 100], instructions: [] } },
    memory: {
      booted: { results: [], peakResidentBytes: [200], guestBytes: [50] },
      programs: { results: ['sort64MB', 'chase64MB_8M'], peakResidentBytes: [300, 300], guestBytes: [100, 100] },
    },
  });
});

test('a side that is no guest has programs alone', () => {
  const { results } = sorted(1);
  const native: GroupRuns[] = [
    { group: { name: 'programs', programs: choosePrograms(['sort']) }, runs: [{ results }] },
  ];
  expect(figuresOf(native)).toMatchObject({
    userlandSeconds: [],
    memory: {},
    programs: { sort64MB: { seconds: [1] } },
  });
});

test('every round is looked at for its checks', () => {
  const [, programs] = groups;
  if (programs === undefined) throw new Error('no group');
  const runs = checkedRuns('QEMU', false, [{ ...programs, runs: [sorted(1, 'a'), sorted(1, 'b')] }]);
  expect(runs.map(({ label, results }) => [label, results[0]?.check])).toEqual([
    ['QEMU (round 1)', 'a'],
    ['QEMU (round 2)', 'b'],
  ]);
  expect(checkedFigures('then', true, figuresOf(groups))).toEqual({
    label: 'then',
    isNative: true,
    results: [{ name: 'sort64MB', check: 'a' }],
  });
});
