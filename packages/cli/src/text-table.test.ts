import { expect, test } from 'vitest';
import { textTable } from './text-table.ts';

test('columns are as wide as their widest cell', () => {
  expect(
    textTable(
      ['A', 'LONG', 'C'],
      [
        ['wide', 'x', 'y'],
        ['z', '', ''],
      ],
    ),
  ).toBe('A     LONG  C\nwide  x     y\nz\n');
});
