/** The end that a machine comes to, while pages are missing: what it makes of a link that goes, and of pages that nobody needs any more. */

import { expect, test } from 'vitest';
import { PAGE_SIZE } from '../../src/base/numbers.ts';
import { MESSAGE } from '../../src/hypervisor/migration/messages.ts';
import { MigrationError } from '../../src/hypervisor/migration/migration-error.ts';
import { Arriving, emptyMachine, firstByte, GIVEN_AWAY, NEEDED } from './arriving.ts';

test.each(['with COMMIT', 'when it runs'])(
  'a link that goes %s leaves the machine here, and nobody waits for a page that never comes',
  async (when) => {
    const arriving = new Arriving();
    if (when === 'with COMMIT') arriving.owned = () => arriving.lost();
    await arriving.comes();
    const machine = await arriving.target.arrived;
    if (when === 'when it runs') arriving.lost();
    await expect(arriving.target.complete).rejects.toMatchObject({ code: 'lost' });
    expect(() => firstByte(machine, NEEDED)).toThrow('cannot be had any more');
    expect([arriving.waited, arriving.target.pump()]).toEqual([0, false]);
  },
);

test.each([
  ['is refused', new Error('no room'), true],
  ['is not refused where it may be kept all the same: who knows it is asked', new MigrationError('lost', 'EIO'), false],
])('a machine of which it cannot be kept that it is here %s', async (_what, error, isRefused) => {
  const arriving = new Arriving();
  arriving.owned = () => {
    throw error;
  };
  await arriving.comes();
  await expect(arriving.target.arrived).rejects.toMatchObject({ code: isRefused ? 'refused' : 'lost' });
  expect([arriving.heard.includes(MESSAGE.REFUSE), arriving.heard.includes(MESSAGE.RUNNING)]).toEqual([
    isRefused,
    false,
  ]);
});

test('who says twice which pages are missing makes no sense, and is no bug', async () => {
  const arriving = new Arriving();
  await arriving.comes(2);
  await expect(arriving.target.arrived).rejects.toMatchObject({ code: 'protocol', reason: undefined });
});

test('pages are copied side by side, those of zeroes left out, and those that are lost come from their source', async () => {
  const machine = await emptyMachine();
  const { pages } = machine;
  // Not in their order in memory, one of zeroes, one that never was there, and a row.
  const [held, zeroes, none] = [[9, 3, 4, 5, 12], 7, 8];
  for (const page of held) pages.put(page, new Uint8Array(PAGE_SIZE).fill(page));
  pages.put(zeroes, new Uint8Array(PAGE_SIZE));
  const all = [3, 4, none, 5, zeroes, 9, 12];
  const into = new Uint8Array(all.length * PAGE_SIZE);
  const copied = pages.copyHeld(all, into);
  const first = (count: number): number[] => Array.from({ length: count }, (_, n) => into[n * PAGE_SIZE] ?? -1);
  expect([copied, first(copied.length), into[5 * PAGE_SIZE - 1]]).toEqual([[3, 4, 5, 9, 12], [3, 4, 5, 9, 12], 12]);

  const loaded: number[] = [];
  pages.source = {
    load: (index, page) => {
      loaded.push(index);
      page.fill(100 + index);
    },
  };
  pages.lose([4, none, 12]);
  expect([3, 4, none, 12].map((page) => firstByte(machine, page))).toEqual([3, 104, 108, 112]);
  // One that is elsewhere is copied from there.
  pages.lose([9]);
  expect([pages.copyHeld([3, 9], into), first(2), loaded]).toEqual([
    [3, 9],
    [3, 109],
    [4, none, 12, 9],
  ]);
});

test('pages that the guest gives away before they come are not waited for, and read as zeroes', async () => {
  const arriving = new Arriving();
  await arriving.comes();
  const machine = await arriving.target.arrived;
  machine.pages.put(GIVEN_AWAY, undefined);
  arriving.late.push(arriving.pages(GIVEN_AWAY, NEEDED));
  expect(arriving.target.pump()).toBe(false);
  await arriving.target.complete;
  expect(arriving.heard.at(-1)).toBe(MESSAGE.COMPLETE);
  expect([GIVEN_AWAY, NEEDED].map((page) => firstByte(machine, page))).toEqual([0, NEEDED]);
});
