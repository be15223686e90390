import { expect, test } from 'vitest';
import { byteRange } from './byte-range.ts';

test.each([
  ['bytes=0-0', { first: 0, last: 0 }],
  ['bytes=10-19', { first: 10, last: 19 }],
  ['bytes=90-', { first: 90, last: 99 }],
  ['bytes=90-1000', { first: 90, last: 99 }],
  ['bytes=-10', { first: 90, last: 99 }],
  ['bytes=-1000', { first: 0, last: 99 }],
  ['Bytes=1-2', { first: 1, last: 2 }],
])('%s of a hundred bytes', (field, range) => expect(byteRange(field, 100)).toEqual(range));

test.each(['bytes=100-', 'bytes=100-200', 'bytes=-0'])('%s lies outside', (field) =>
  expect(byteRange(field, 100)).toBe('unsatisfiable'),
);

test.each([undefined, '', 'bytes=', 'bytes=-', 'bytes=5-4', 'bytes=0-1,3-4', 'lines=1-2', 'bytes=a-b'])(
  '%s means all of it',
  (field) => expect(byteRange(field, 100)).toBeUndefined(),
);
