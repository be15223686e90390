import { expect, test } from 'vitest';
import { MAXIMUM_SHARES, mountedShares, taggedShares } from './share-words.ts';

test.each([
  ['.:/work', { host: '.', guest: '/work', readOnly: false }],
  ['/a:/b:ro', { host: '/a', guest: '/b', readOnly: true }],
  ['with:colon/x:/work', { host: 'with:colon/x', guest: '/work', readOnly: false }],
  ['/a:/b:/c', { host: '/a:/b', guest: '/c', readOnly: false }],
  ['a b:/c d', { host: 'a b', guest: '/c d', readOnly: false }],
  ['x:/deep/er/', { host: 'x', guest: '/deep/er/', readOnly: false }],
])('%s is understood', (word, share) => {
  expect(mountedShares([word])).toEqual([share]);
});

test.each(['/work', 'a:b', ':/b', 'a:', 'a:/b:rw', 'a:/', 'a:/./', 'a:/b/../c', 'a:/b\0c'])('%j is refused', (word) => {
  expect(() => mountedShares([word])).toThrow(`Share "${word}" `);
});

test('one place is for one folder, and there are only so many', () => {
  expect(() => mountedShares(['a:/x', 'b:/x'])).toThrow('Share "b:/x" is the second one of this name in the guest');
  const many = Array.from({ length: MAXIMUM_SHARES + 1 }, (_, index) => `a:/x${index}`);
  expect(mountedShares(many.slice(1))).toHaveLength(MAXIMUM_SHARES);
  expect(() => mountedShares(many)).toThrow(`${MAXIMUM_SHARES} is the most`);
});

test('a tag is a name of at most 36 bytes', () => {
  expect(taggedShares(['/a:tag', '/b:other:ro'])).toEqual([
    { host: '/a', guest: 'tag', readOnly: false },
    { host: '/b', guest: 'other', readOnly: true },
  ]);
  for (const word of ['/a', '/a:/b', '/a:', `/a:${'ü'.repeat(19)}`])
    expect(() => taggedShares([word])).toThrow('Share');
});
