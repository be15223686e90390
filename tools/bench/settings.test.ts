import { expect, test } from 'vitest';
import { HELP, readSettings } from './settings.ts';

const names = (...words: string[]) => readSettings(words)?.programs.map(({ name }) => name);

test('without words the table and what explains it are measured three times, and the boot', () => {
  const settings = readSettings([]);
  expect(settings).toMatchObject({
    runs: 3,
    engines: ['default'],
    jsonPath: 'bench-results/latest.json',
    qemuFrom: undefined,
    measuresUserland: true,
  });
  expect(new Set(settings?.programs.map(({ set }) => set))).toEqual(new Set(['table', 'beside']));
});

test('some programs can be named, with commas or again', () => {
  expect(names('--only', 'nbody,sha')).toEqual(['sha', 'nbody']);
  expect(names('--only', 'nbody', '--only', 'fft')).toEqual(['nbody', 'fft']);
  expect(readSettings(['--only', 'nbody'])?.measuresUserland).toBe(false);
  expect(readSettings(['--only', 'userland'])).toMatchObject({ programs: [], measuresUserland: true });
  expect(readSettings(['--only', 'userland,fft'])).toMatchObject({
    programs: [{ name: 'fft' }],
    measuresUserland: true,
  });
});

test('the sets', () => {
  expect(names('--set', 'wide')).toContain('coremix');
  expect(names('--set', 'wide')).not.toContain('sha');
  expect(names('--set', 'all')).toEqual([...(names('--set', 'main') ?? []), ...(names('--set', 'wide') ?? [])]);
});

test("a run with an earlier one's figures leaves that file alone", () => {
  expect(readSettings(['--qemu-from', 'bench-results/latest.json'])).toMatchObject({
    qemuFrom: 'bench-results/latest.json',
    jsonPath: 'bench-results/tuning.json',
  });
  expect(() => readSettings(['--qemu-from', 'a.json', '--json', 'a.json'])).toThrow(
    "a.json cannot be read for QEMU's figures and written too; give another --json.",
  );
});

test.each([
  [['--runs', '0'], '--runs takes a number from 1 to 99, not 0.'],
  [['--runs', 'many'], '--runs takes a number from 1 to 99, not many.'],
  [['--engine', 'tcg'], 'There is no engine called tcg. The engines are: interpreter, jit, or both.'],
  [['--set', 'narrow'], 'There is no set called narrow. The sets are: main, wide, all.'],
  [['--only', 'sah'], 'There is no program called sah. The programs are: sha, nbody, '],
  [['--fast'], "Unknown option '--fast'"],
])('%j is refused with a sentence', (words, sentence) => {
  expect(() => readSettings(words)).toThrow(sentence);
});

test('help names every option and every program', () => {
  expect(readSettings(['--help'])).toBeUndefined();
  for (const word of [
    '--runs',
    '--engine',
    '--set',
    '--only',
    '--qemu-from',
    '--suite',
    '--json',
    ...(names('--set', 'all') ?? []),
  ])
    expect(HELP).toContain(word);
});
