/** What a thread that executes harts says of its end. */

import { SnapshotError } from '@ringfence/core';
import { expect, test } from 'vitest';
import { errorOfThread, threadEnd } from './thread-end.ts';

const told = (error: unknown): Error => errorOfThread(structuredClone(threadEnd(error)));

test('a broken page of a snapshot is one for who hears of it, too', () => {
  const error = told(new SnapshotError('broken', 'its pages are not what was written'));
  expect(error).toBeInstanceOf(SnapshotError);
  expect(error).toMatchObject({ code: 'broken', message: 'its pages are not what was written' });
});

test('any other end has its words, and where it was', () => {
  const error = new TypeError('no such thing');
  expect(told(error)).toMatchObject({ message: 'no such thing', stack: error.stack });
  expect(told(error)).not.toBeInstanceOf(SnapshotError);
  expect(told('a word').message).toBe('a word');
});
