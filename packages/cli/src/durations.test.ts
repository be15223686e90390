import { expect, test } from 'vitest';
import { parseDuration, timeLimit } from './durations.ts';

test.each([
  ['30s', 30_000],
  ['30', 30_000],
  ['5m', 300_000],
  ['250ms', 250],
  ['1.5h', 5_400_000],
])('%s is a duration', (text, durationMs) => expect(parseDuration(text)).toBe(durationMs));

test('a time limit is a time that a timer can count', () => {
  expect(timeLimit('2s')).toBe(2000);
  expect(timeLimit('0')).toBe('is no time at all; write something like 30s');
  expect(timeLimit('25d')).toBe('is too long; the longest is 24d');
  expect(timeLimit('soon')).toBe('is no duration; write it like 30s, 5m or 1h');
});
