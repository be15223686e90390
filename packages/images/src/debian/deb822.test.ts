import { expect, test } from 'vitest';
import { parseStanza, parseStanzas } from './deb822.ts';

test('a stanza knows its fields whatever their case, and values of more than one line', () => {
  const stanza = parseStanza('Package: a\nDescription: short\n  long\n .\n more\n# a comment\nTag:\tx, y\nnonsense\n');
  expect(stanza.get('PACKAGE')).toBe('a');
  expect(stanza.get('description')).toBe('short\nlong\n.\nmore');
  expect(stanza.words('Tag')).toEqual(['x,', 'y']);
  expect(stanza.get('Absent')).toBeUndefined();
});

test('yes and no are read as apt reads them', () => {
  const stanza = parseStanza('A: yes\nB: Off\nC: perhaps');
  expect(['A', 'B', 'C', 'D'].map((field) => stanza.flag(field))).toEqual([true, false, undefined, undefined]);
});

test('empty lines part stanzas, and comments alone are none', () => {
  const stanzas = parseStanzas('# head\n\nA: 1\n\n \n# middle\n\nA: 2\r\nB: 3\r\n\n');
  expect(stanzas.map((stanza) => stanza.get('A'))).toEqual(['1', '2']);
});
