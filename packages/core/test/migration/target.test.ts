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

  async comes(): Promise<void> {
    const from = await blankMachine();
    const { memoryBytes, hartCount: harts } = from;
    const { stateLayout } = Machine;
    const hello = { version: MIGRATION_VERSION, stateLayout, memoryBytes, harts, about: null };
    this.#hear(this.#writer.json(MESSAGE.HELLO, hello));
    await vi.waitUntil(() => this.heard.includes(MESSAGE.ACCEPT), { interval: 1 });
    this.#hear(this.#writer.bytes(MESSAGE.MISSING, bitmapOf([GIVEN_AWAY, NEEDED], from.pages.count)));
    await from.quiesce();
    this.#hear(this.#writer.json(MESSAGE.STATE, { state: savedToJson(from.save()), beside: null }));
    await vi.waitUntil(() => this.heard.includes(MESSAGE.READY), { interval: 1 });
    this.#hear(this.#writer.json(MESSAGE.COMMIT, { stoodNs: 0 }));
  }

  pages(...numbers: number[]): Uint8Array {
    const batch = new PageBatch(numbers, (index, into) => into.fill(index).length > 0);
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
    await arriving.comes();
    if (when === 'with COMMIT') arriving.lost();
    const machine = await arriving.target.arrived;
    if (when === 'when it runs') arriving.lost();
    await expect(arriving.target.complete).rejects.toMatchObject({ code: 'lost' });
    expect(() => firstByte(machine, NEEDED)).toThrow('cannot be had any more');
    expect([arriving.waited, arriving.target.pump()]).toEqual([0, false]);
  },
);

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
