import { expect, test } from 'vitest';
import { Sequence } from './interval-lock.ts';

test('a sequence is busy from the call to the end of the last, also of one that fails', async () => {
  const sequence = new Sequence();
  const first = Promise.withResolvers<void>();
  const done: string[] = [];
  const one = sequence.run(async () => {
    await first.promise;
    done.push('one');
  });
  const other = sequence.run(() => {
    done.push('other');
    return Promise.reject(new Error('it fails'));
  });
  expect(sequence.isBusy).toBe(true);
  first.resolve();
  await one;
  expect([done, sequence.isBusy]).toEqual([['one'], true]);
  await expect(other).rejects.toThrow('it fails');
  expect([done, sequence.isBusy]).toEqual([['one', 'other'], false]);
});
