import { expect, test } from 'vitest';
import { Lines, suiteLine, type SuiteLine } from './suite-output.ts';

test.each<[line: string, said: SuiteLine | undefined]>([
  ['USERLAND\r', { kind: 'userland' }],
  ['END\r', { kind: 'end' }],
  ['START sha\r', { kind: 'start', program: 'sha' }],
  ['RESULT sort64MB 1.5000 ab12\r', { kind: 'result', name: 'sort64MB', seconds: 1.5, check: 'ab12' }],
  ['[    1.443756] RESULT sort64MB 1.5000 ab12', { kind: 'result', name: 'sort64MB', seconds: 1.5, check: 'ab12' }],
  ['RESULT sort64MB 1.5000', undefined],
  ['RESULT sort64MB nan ab12', undefined],
  ['START', undefined],
  ['Run /init as init process', undefined],
  ['ENDLESS', undefined],
  ['', undefined],
])('%j is read for what it says', (line, said) => {
  expect(suiteLine(line)).toEqual(said);
});

test('lines come out whole, however the bytes were cut', () => {
  const lines: string[] = [];
  const cut = new Lines((line) => lines.push(line));
  for (const piece of ['ST', 'ART sha\nRES', 'ULT a 1 2\n', 'END']) cut.write(new TextEncoder().encode(piece));
  expect(lines).toEqual(['START sha', 'RESULT a 1 2']);
});
