import { expect, test } from 'vitest';
import { enginesOf, engineThatRan } from './engines.ts';

test('both engines are two, and an engine that there is not is refused with those there are', () => {
  expect(enginesOf('both')).toEqual(['interpreter', 'jit']);
  expect(enginesOf('jit')).toEqual(['jit']);
  for (const word of ['jti', 'toString'])
    expect(() => enginesOf(word)).toThrow(
      `There is no engine called ${word}. The engines are: interpreter, jit, or both.`,
    );
});

test("a machine's counters say which engine ran", () => {
  expect(engineThatRan('default', { instructions: 5 })).toBe('interpreter');
  expect(engineThatRan('default', { instructions: 5, 'jit.regions': 0 })).toBe('interpreter');
  expect(engineThatRan('default', { instructions: 5, 'jit.regions': 3 })).toBe('jit');
  expect(engineThatRan('jit', { 'jit.regions': 3 })).toBe('jit');
});

test('figures never stand under the name of an engine that did not run', () => {
  expect(() => engineThatRan('jit', { instructions: 5 })).toThrow('The jit was asked for, but the interpreter ran');
  expect(() => engineThatRan('interpreter', { 'jit.regions': 3 })).toThrow(
    'The interpreter was asked for, but the jit ran',
  );
});
