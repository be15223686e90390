import { expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { Machine } from './machine.ts';
import { DRAM_BASE } from './memory-map.ts';
import { PacedClock } from './testing/bare-machine.ts';

test('pages that are written again before they are sent are left to the next question', async () => {
  const machine = await Machine.create({
    memoryBytes: 4 * 1024 * 1024,
    clock: new PacedClock(),
    entropy: { fill: (into) => void into.fill(1) },
    serialOutput: { write: () => {} },
    firmware: 'none',
    blank: true,
  });
  const write = (page: number): void => void machine.ram.write(DRAM_BASE + page * PAGE_SIZE, new Uint8Array([7]));
  for (const page of [2, 3, 5, 8, 9]) write(page);
  const changes = machine.pages.follow();
  const pages = changes.take();
  expect(pages).toEqual([2, 3, 5, 8, 9]);
  for (const page of [3, 8]) write(page);
  expect(changes.unwritten(pages, 0, 2)).toEqual([[2, 5], 3]);
  expect(changes.unwritten(pages, 3, 2)).toEqual([[9], 5]);
  // Given away since, and so to be sent as zeroes.
  machine.pages.put(5, undefined);
  expect(changes.take()).toEqual([3, 5, 8]);
  expect(changes.unwritten([3, 5, 8], 0, 9)).toEqual([[3, 5, 8], 3]);
  changes.end();
});
