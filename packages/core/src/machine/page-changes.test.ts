import { expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { PAGE } from '../engine/layout.ts';
import { MachineDomain } from './machine-domain.ts';
import { DRAM_BASE } from './memory-map.ts';
import { blankMachine } from './testing/blank-machine.ts';

test('pages that are written again before they are sent are left to the next question', async () => {
  const machine = await blankMachine();
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

test('what was written is found of a machine whose page map lies in the upper half of its domain, too', async () => {
  const domain = await MachineDomain.create({ label: '', engine: 'interpreter' });
  const machine = await blankMachine({ domain });
  const write = (page: number): void => void machine.ram.write(DRAM_BASE + page * PAGE_SIZE, new Uint8Array([7]));
  expect(machine.guest.pageMap).toBeGreaterThan(2 ** 31);
  for (const page of [2, 1023]) write(page);
  const changes = machine.pages.follow();
  expect(changes.take()).toEqual([2, 1023]);
  write(1023);
  expect(changes.take()).toEqual([1023]);
  expect(changes.take()).toEqual([]);
  changes.end();
  machine.close();
});

test('a page that was put away is found whatever its number there is', async () => {
  const domain = await MachineDomain.create({ label: '', engine: 'interpreter' });
  const { u32, frames, blocks } = domain.engine.domain;
  const room = frames.takeRun(1);
  const [at, zero] = [room >>> 2, frames.zero];
  u32[at + 1] = (zero | PAGE.PRESENT) >>> 0;
  u32[at + 2] = (zero | PAGE.AWAY) >>> 0;
  u32[at + 3] = (zero | PAGE.AWAY | PAGE.KEPT) >>> 0;
  expect((blocks?.nextWritten(room, room + 16, zero) ?? 0) >>> 0).toBe(room + 8);
  expect((blocks?.nextWritten(room + 12, room + 16, zero) ?? 0) >>> 0).toBe(room + 16);
});
