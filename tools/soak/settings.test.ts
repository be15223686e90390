import { expect, test } from 'vitest';
import { HELP, readSettings } from './settings.ts';

test('two hours with a look each minute, when nothing is said', () => {
  expect(readSettings([])).toEqual({
    minutes: 120,
    everySeconds: 60,
    engine: 'default',
    suite: 'stable',
    jsonPath: 'bench-results/soak.json',
  });
});

test('ten minutes are enough for a look each minute', () => {
  expect(readSettings(['--minutes', '10', '--engine', 'jit'])).toMatchObject({ minutes: 10, engine: 'jit' });
});

test.each([
  [['--minutes', 'long'], '--minutes takes a number above 0 and up to 10080, not long.'],
  [['--minutes', ''], '--minutes takes a number above 0 and up to 10080, not .'],
  [['--every', '0'], '--every takes a number above 0 and up to 604800, not 0.'],
  [['--minutes', '5'], '5 minutes with a look every 60 s leave 3 looks after the warm-up, and 6 are needed.'],
  [['--engine', 'both'], 'A soak is of one engine: interpreter or jit.'],
  [['--engine', 'tcg'], 'There is no engine called tcg.'],
])('%j is refused with a sentence', (words, sentence) => {
  expect(() => readSettings(words)).toThrow(sentence);
});

test('help names every option', () => {
  expect(readSettings(['-h'])).toBeUndefined();
  for (const option of ['--minutes', '--every', '--engine', '--suite', '--json']) expect(HELP).toContain(option);
});
