/** How long a thread looks for work before it sleeps, by how long there was none. */

import { expect, test } from 'vitest';
import { HaltPolling, LONGEST_NS } from './halt-polling.ts';

const after = (...halts: readonly number[]): number => {
  const polling = new HaltPolling();
  for (const ns of halts) polling.halted(ns);
  return polling.windowNs;
};

test('one that has always slept long does not look', () => {
  expect([after(), after(1e9), after(LONGEST_NS + 1, 1e6)]).toEqual([0, 0, 0]);
});

test('one that was woken soon looks, and longer each time that it was not long enough', () => {
  expect([after(60_000), after(60_000, 60_000), after(60_000, 60_000, 60_000, 60_000)]).toEqual([
    10_000, 20_000, 80_000,
  ]);
  expect(after(...Array.from({ length: 20 }, () => LONGEST_NS))).toBe(LONGEST_NS);
});

test('what was long enough stays', () => {
  expect(after(60_000, 60_000, 5000, 20_000)).toBe(20_000);
});

test('one that sleeps long once looks no more before it is woken soon again', () => {
  expect([after(60_000, 60_000, 1e9), after(60_000, 60_000, 1e9, 50_000)]).toEqual([0, 10_000]);
});
