import { expect, test } from 'vitest';
import { copyTarget, type Kind } from './where.ts';

const target = (kind: Kind, source: string, destination: string, there: Kind | undefined): string =>
  copyTarget({ path: source, kind }, destination, there).path;

test.each([
  ['a file to a new name', 'other', '/etc/motd', 'out', undefined, 'out'],
  ['a file over a file', 'other', '/etc/motd', 'out', 'other', 'out'],
  ['a file into a folder', 'other', '/etc/motd', 'out', 'folder', 'out/motd'],
  ['a file into a folder that ends in a slash', 'other', 'motd', 'out/', 'folder', 'out/motd'],
  ['a file into where one is', 'other', '/etc/motd', '.', 'folder', './motd'],
  ['a file into the root', 'other', 'a/motd', '/', 'folder', '/motd'],
  ['a folder to a new name', 'folder', '/etc', 'out', undefined, 'out'],
  ['a folder to a new name with a slash', 'folder', '/etc', 'out/', undefined, 'out'],
  ['a folder into a folder', 'folder', '/etc', 'out', 'folder', 'out/etc'],
  ['a folder with a slash into a folder', 'folder', '/etc/', 'out', 'folder', 'out/etc'],
  ['what is in a folder into a folder', 'folder', '/etc/.', 'out/', 'folder', 'out'],
  ['what is in a folder to a new name', 'folder', '/etc/.', 'out', undefined, 'out'],
  ['where one is into a folder', 'folder', '.', '/work', 'folder', '/work'],
  ['the root into a folder', 'folder', '/', '/work', 'folder', '/work'],
] as const)('%s', (_what, kind, source, destination, there, expected) => {
  expect(target(kind, source, destination, there)).toBe(expected);
});

test.each([
  ['other', '/etc/motd', 'out/', undefined, 'there is no folder "out/" to copy to'],
  ['other', '/etc/motd', 'out/', 'other', '"out/" is no folder'],
  ['other', '/etc/motd/', 'out', undefined, '"/etc/motd/" is no folder'],
  ['other', '/etc/motd/.', 'out', undefined, '"/etc/motd/." is no folder'],
  ['folder', '/etc', 'out', 'other', '"out" is no folder, and a folder cannot be copied over a file'],
] as const)('%s %s to %s (%s) cannot be: %s', (kind, source, destination, there, sentence) => {
  expect(() => target(kind, source, destination, there)).toThrow(sentence);
});
