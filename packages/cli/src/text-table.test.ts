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

test('what is in a cell steers no terminal and stays on its line', () => {
  expect(textTable(['TAKEN', 'ON'], [['\u001b[2J2026\u009b31m', 'a\nb\tc']])).toBe(
    'TAKEN         ON\n?[2J2026?31m  a b c\n',
  );
});
