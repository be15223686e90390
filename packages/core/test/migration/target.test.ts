/** The end that a machine comes to, while pages are missing: what it makes of a link that goes, and of pages that nobody needs any more. */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { PAGE_SIZE } from '../../src/base/numbers.ts';
import {
  bitmapOf,
  MESSAGE,
  MessageReader,
  MessageWriter,
  MIGRATION_VERSION,
  PageBatch,
} from '../../src/hypervisor/migration/messages.ts';
import { MigrationError } from '../../src/hypervisor/migration/migration-error.ts';
import { MigrationTarget } from '../../src/hypervisor/migration/target.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PacedClock } from '../../src/machine/testing/bare-machine.ts';
import { savedToJson } from '../../src/vm/snapshot/saved-json.ts';
import { RAM_BASE, RAM_BYTES } from '../differential/places.ts';
import { brokenLinkCodec } from './broken-link.ts';

const [GIVEN_AWAY, NEEDED] = [5, 6];

/** A machine that is the target's, with both pages missing, once it has heard COMMIT. */
class Arriving {
  readonly target: MigrationTarget;
  readonly heard: number[] = [];
  /** What comes over the link when it is read where the guest stands. */
  readonly late: Uint8Array[] = [];
  /** How often the guest waited for something that never comes. */
  waited = 0;
  lost: () => void = () => undefined;
  owned: () => void = () => undefined;
  readonly #codec = brokenLinkCodec();
  readonly #writer = new MessageWriter(this.#codec);
  #hear: (message: Uint8Array) => void = () => undefined;

  constructor() {
    const reader = new MessageReader(this.#codec);
    const send = (message: Uint8Array): void => void this.heard.push(reader.read(message).kind);
    this.target = new MigrationTarget({
      link: {
        send: (message) => Promise.resolve(send(message)),
        listen: (onMessage, onLost) => ([this.#hear, this.lost] = [onMessage, onLost]),
        close: () => undefined,
      },
      codec: this.#codec,
      clock: { monotonicNs: () => performance.now() * 1e6, sleep },
      make: blankMachine,
      owned: async () => this.owned(),
      run: () => undefined,
      wait: () => ({
        send,
        receive: (wait) => {
          const message = this.late.shift();
          if (message === undefined && wait) throw new Error(`waits for ever, ${++this.waited}`);
          return message;
        },
      }),
    });
  }

  /** Says so many times which pages are missing. */
  async comes(times = 1): Promise<void> {
    const from = await blankMachine();
    const { memoryBytes, hartCount: harts } = from;
    const { stateLayout } = Machine;
    const hello = { version: MIGRATION_VERSION, stateLayout, memoryBytes, harts, about: null };
    this.#hear(this.#writer.json(MESSAGE.HELLO, hello));
    await vi.waitUntil(() => this.heard.includes(MESSAGE.ACCEPT), { interval: 1 });
    for (let time = 0; time < times; time++)
      this.#hear(this.#writer.bytes(MESSAGE.MISSING, bitmapOf([GIVEN_AWAY, NEEDED], from.pages.count)));
    if (times > 1) return;
    await from.quiesce();
    this.#hear(this.#writer.json(MESSAGE.STATE, { state: savedToJson(from.save()), beside: null }));
    this.#hear(this.#writer.json(MESSAGE.COMMIT, { stoodNs: 0 }));
  }

  pages(...numbers: number[]): Uint8Array {
    const batch = new PageBatch(numbers, (pages, into) => {
      for (const [n, page] of pages.entries()) into.fill(page, n * PAGE_SIZE, (n + 1) * PAGE_SIZE);
      return pages;
    });
    return batch.finishPlain(this.#writer);
  }
}

function blankMachine(): Promise<Machine> {
  return Machine.create({
    memoryBytes: RAM_BYTES,
    clock: new PacedClock(),
    entropy: { fill: (into) => void into.fill(1) },
    serialOutput: { write: () => {} },
    firmware: 'none',
    blank: true,
  });
}

function firstByte(machine: Machine, page: number): number {
  const bytes = new Uint8Array(1);
  machine.ram.read(RAM_BASE + page * PAGE_SIZE, bytes);
  return bytes[0] ?? -1;
}

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
  const machine = await blankMachine();
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
