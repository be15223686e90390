import { expect, test } from 'vitest';

import { evaluate } from './expression.ts';

const scope = {
  address: 0x8000_0010n,
  symbols: new Map([
    ['start', 0x8000_0000n],
    ['1@2', 7n],
  ]),
};

test.each([
  ['42', 42n],
  ['-42', -42n],
  ['0xffffffffffffffff', 0xffff_ffff_ffff_ffffn],
  ['0b101', 5n],
  ["'A'", 65n],
  ["'\\n' + 1", 11n],
  ['1 + 2 * 3', 7n],
  ['(1 + 2) * 3', 9n],
  ['7 - 2 - 1', 4n],
  ['1 << 4 | 1', 17n],
  ['~0 & 0xff ^ 0x0f', 0xf0n],
  ['-2 * -3', 6n],
  ['100 / 7', 14n],
  ['. - start', 16n],
  ['1@2', 7n],
  ['%hi(0x12345fff)', 0x12346n],
  ['%lo(0x12345fff)', -1n],
  ['%hi(start)', 0x80000n],
])('%s', (text, value) => {
  expect(evaluate(text, scope)).toBe(value);
});

test.each([
  ['', 'A value is missing.'],
  ['1 2', '"1 2" is not an expression.'],
  ['(1', '"(1" is not an expression.'],
  ['1)', '"1)" is not an expression.'],
  ['12ab', '"12ab" is not an expression.'],
  ['*', '"*" is not an expression.'],
  ['%hi 1', '"%hi 1" is not an expression.'],
  ['end', 'There is no symbol "end" here.'],
  ['1 / (2 - 2)', '"1 / (2 - 2)" divides by zero.'],
  ['1 << 128', '"1 << 128" shifts by 128; 0 to 127 is possible.'],
  ['('.repeat(100) + '1' + ')'.repeat(100), 'is not an expression.'],
])('"%s" is refused', (text, message) => {
  expect(() => evaluate(text, scope)).toThrow(message);
});
