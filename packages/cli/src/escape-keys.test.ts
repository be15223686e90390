import { expect, test } from 'vitest';
import { EscapeKeys } from './escape-keys.ts';

const typed = (keys: EscapeKeys, text: string): [string, boolean] => {
  const { forGuest, quit } = keys.take(Buffer.from(text, 'latin1'));
  return [Buffer.from(forGuest).toString('latin1'), quit];
};

test('keys go to the guest as they are, control characters too', () => {
  expect(typed(new EscapeKeys(), 'ls\r\x03\x04\x1b[A\xff')).toEqual(['ls\r\x03\x04\x1b[A\xff', false]);
});

test.each(['x', 'X', '\x18'])('Ctrl-A and %j ends, and what follows is dropped', (key) => {
  expect(typed(new EscapeKeys(), `ab\x01${key}cd`)).toEqual(['ab', true]);
});

test('Ctrl-A twice is one Ctrl-A for the guest', () => {
  expect(typed(new EscapeKeys(), 'a\x01\x01x')).toEqual(['a\x01x', false]);
});

test("Ctrl-A before another key is the guest's, with the key", () => {
  expect(typed(new EscapeKeys(), '\x01c')).toEqual(['\x01c', false]);
});

test('Ctrl-A is remembered from one read to the next', () => {
  const keys = new EscapeKeys();
  expect(typed(keys, 'a\x01')).toEqual(['a', false]);
  expect(typed(keys, 'b')).toEqual(['\x01b', false]);
  expect(typed(keys, '\x01')).toEqual(['', false]);
  expect(typed(keys, 'x')).toEqual(['', true]);
});
