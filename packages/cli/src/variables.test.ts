import { expect, test } from 'vitest';
import { variables } from './variables.ts';

test('a variable has the value that is given, or the one it has here', () => {
  const here = { HERE: 'yes', EMPTY: '' };
  expect(variables(['A=1', 'B=x=y', 'C=', 'HERE', 'EMPTY', 'NOWHERE', 'A=2'], here)).toEqual({
    A: '2',
    B: 'x=y',
    C: '',
    HERE: 'yes',
    EMPTY: '',
  });
});

test('one without a name is refused', () => {
  expect(() => variables(['=x'], {})).toThrow('--env "=x" has no name; write it like NAME=VALUE');
});
