import { expect, test } from 'vitest';
import { PROGRAMS } from './programs.ts';
import { TARGETS } from './targets.ts';

const table = PROGRAMS.filter(({ set }) => set === 'table').flatMap(({ results }) => results);

test('the JIT has a target for each program of the table, and for no other', () => {
  expect(Object.keys(TARGETS.jit.speedAtLeast).toSorted()).toEqual(table.toSorted());
});

test('the interpreter has one target for all of them', () => {
  expect(TARGETS.interpreter.anySpeedAtLeast).toBe(0.25);
  expect(TARGETS.interpreter.speedAtLeast).toEqual({});
});
