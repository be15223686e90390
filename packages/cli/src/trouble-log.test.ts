import { expect, test } from 'vitest';
import { MAXIMUM_SENTENCES, troubleLog } from './trouble-log.ts';

test('trouble is told once, of the levels asked for, and not without end', () => {
  const told: string[] = [];
  const log = troubleLog((sentence) => told.push(sentence), ['error']);
  log.log('warn', 'virtio-net', 'odd');
  for (let times = 0; times < 3; times++) log.log('error', 'virtio-block', 'A read failed');
  expect(told).toEqual(['virtio-block: A read failed']);
  for (let number = 0; number < 1000; number++) log.log('error', 'virtio-block', `A read of ${number} failed`);
  expect(told).toHaveLength(MAXIMUM_SENTENCES + 1);
  expect(told.at(-1)).toBe('there is more trouble with devices, which is not told any more');
});
