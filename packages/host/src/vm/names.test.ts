import { expect, test } from 'vitest';
import { checkedName, isName, nearNames, randomName } from './names.ts';

test.each(['web', 'a', '0', 'web-1', 'x'.repeat(63)])('"%s" is a name', (name) => expect(checkedName(name)).toBe(name));

test.each(['', '-a', 'a-', 'Web', 'a.b', 'a_b', 'a b', 'a/b', '../a', 'x'.repeat(64), 'ü'])('"%s" is none', (name) =>
  expect(() => checkedName(name)).toThrow(`"${name}" is no name for a virtual machine; use up to 63 small letters`),
);

test('names of our own are names', () => {
  for (let count = 0; count < 200; count++) expect(isName(randomName())).toBe(true);
});

test('a mistyped name finds the one that was meant, and a beginning finds all that begin so', () => {
  expect(nearNames('wbe', ['db', 'web', 'quiet-otter'])).toEqual(['web']);
  expect(nearNames('quiet', ['db', 'web', 'quiet-otter', 'quiet-fox'])).toEqual(['quiet-otter', 'quiet-fox']);
  expect(nearNames('something', ['db', 'web'])).toEqual([]);
});
