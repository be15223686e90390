/** Guests that write while they are moved, over links that are slow or long: which are handed over whole, which have pages follow, and which stay. */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { PAGE_SIZE } from '../../src/base/numbers.ts';
import type { MigrationReport } from '../../src/hypervisor/migration/migration-report.ts';
import type { MigrationLink, MigrationTimers, WaitingLink } from '../../src/hypervisor/migration/ports.ts';
import { MigrationSource } from '../../src/hypervisor/migration/source.ts';
import { MigrationTarget } from '../../src/hypervisor/migration/target.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { pacedMachine } from '../differential/paced-machine.ts';
import { RAM_BASE } from '../differential/places.ts';
import { brokenLinkCodec } from './broken-link.ts';

const CLOCK = { monotonicNs: () => performance.now() * 1e6, sleep };
/** Ten times as fast as others. */
const FAST = { monotonicNs: () => performance.now() * 1e7, sleep: (ms: number) => sleep(ms / 10) };

/** One end of a link that is so long, and carries so much. */
class LongEnd implements MigrationLink {
  readonly #delayMs: number;
  readonly #bytesPerMs: number;
  other: LongEnd | undefined;
  #freeAtMs = 0;
  readonly #underWay: Uint8Array[] = [];
  #hear: (message: Uint8Array) => void = () => undefined;
  /** What waits until it is asked for. */
  held: Uint8Array[] | undefined;

  constructor(delayMs: number, bytesPerMs: number) {
    this.#delayMs = delayMs;
    this.#bytesPerMs = bytesPerMs;
  }

  async send(message: Uint8Array, sent?: () => void): Promise<void> {
    const copy = message.slice();
    sent?.();
    this.#freeAtMs = Math.max(performance.now(), this.#freeAtMs) + copy.length / this.#bytesPerMs;
    this.#underWay.push(copy);
    // Of two timers the later one may be over first, by a millisecond; messages come in their order.
    const come = (): void => this.other?.came(this.#underWay.shift() ?? copy);
    setTimeout(come, Math.max(0, this.#freeAtMs - performance.now()) + this.#delayMs);
  }

  came(message: Uint8Array): void {
    if (this.held) this.held.push(message);
    else this.#hear(message);
  }

  listen(onMessage: (message: Uint8Array) => void): void {
    this.#hear = onMessage;
  }

  close(): void {}

  /** Nobody asks for a single page here. */
  wait(): WaitingLink {
    this.held = [];
    return { send: (message) => void this.send(message), receive: () => this.held?.shift() };
  }
}

/** A guest that writes a word to each of so many pages, one after the other, and has written so many of them each ms. */
class WritingGuest {
  readonly #machine: Machine;
  readonly #pages: number;
  readonly #pagesPerMs: number;
  #isPaused = false;
  #sinceMs = performance.now();
  #next = 0;
  readonly #timer = setInterval(() => this.#write(), 1);

  constructor(machine: Machine, pages: number, pagesPerMs: number) {
    this.#machine = machine;
    this.#pages = pages;
    this.#pagesPerMs = pagesPerMs;
  }

  #write(): void {
    const ms = performance.now() - this.#sinceMs;
    this.#sinceMs += ms;
    if (this.#isPaused) return;
    const until = this.#next + Math.min(ms * this.#pagesPerMs, this.#pages);
    for (; this.#next < until; this.#next++)
      this.#machine.ram.write(RAM_BASE + (Math.floor(this.#next) % this.#pages) * PAGE_SIZE, Uint8Array.of(this.#next));
  }

  async pause(): Promise<boolean> {
    this.#write();
    this.#isPaused = true;
    await this.#machine.quiesce();
    return true;
  }

  resume(): void {
    this.#write();
    this.#isPaused = false;
    this.#machine.resume();
  }

  async runFor(ms: number): Promise<boolean> {
    this.resume();
    await sleep(ms);
    return this.pause();
  }

  end(): void {
    clearInterval(this.#timer);
  }
}

interface Case {
  readonly delayMs: number;
  readonly bytesPerMs: number;
  readonly pages: number;
  readonly pagesPerMs: number;
  readonly postCopy: boolean;
}

async function moved(
  { delayMs, bytesPerMs, pages, pagesPerMs, postCopy }: Case,
  clock: MigrationTimers = CLOCK,
): Promise<MigrationReport> {
  const [here, there] = [new LongEnd(delayMs, bytesPerMs), new LongEnd(delayMs, bytesPerMs)];
  [here.other, there.other] = [there, here];
  const machine = await pacedMachine('interpreter');
  for (let page = 0; page < pages; page++) machine.ram.write(RAM_BASE + page * PAGE_SIZE, Uint8Array.of(1));
  const guest = new WritingGuest(machine, pages, pagesPerMs);
  const codec = { ...brokenLinkCodec(), compress: () => Promise.resolve(undefined) };
  const target = new MigrationTarget({
    link: there,
    codec,
    clock,
    make: () => pacedMachine('interpreter'),
    run: () => undefined,
    wait: () => there.wait(),
  });
  const pumping = setInterval(() => target.pump(), 1);
  try {
    return await new MigrationSource({
      machine,
      runner: guest,
      clock,
      codec,
      link: here,
      about: null,
      postCopy,
      settle: () => Promise.resolve('source'),
    }).run();
  } finally {
    clearInterval(pumping);
    guest.end();
  }
}

test('one that does next to nothing goes whole over a long and slow link, whatever may follow', async () => {
  const report = await moved({ delayMs: 120, bytesPerMs: 4000, pages: 300, pagesPerMs: 0.05, postCopy: true });
  expect(report).toMatchObject({ pagesAfter: 0, isComplete: true });
});

test('one that writes faster than the link carries is slowed down, and goes whole', async () => {
  const report = await moved({ delayMs: 0, bytesPerMs: 4000, pages: 500, pagesPerMs: 2, postCopy: false });
  expect(report).toMatchObject({ pagesAfter: 0, isComplete: true });
  expect(report.rounds).toBeGreaterThan(2);
  // Not slowed down, all of what it writes is left each time: 500 ms.
  expect(report.downtimeNs / 1e6).toBeLessThan(250);
});

test('one that cannot be slowed down enough has pages follow only where that was asked for', async () => {
  const hopeless = { delayMs: 0, bytesPerMs: 4000, pages: 500, pagesPerMs: 1000 };
  expect(await moved({ ...hopeless, postCopy: false })).toMatchObject({ pagesAfter: 0, isComplete: true });
  const report = await moved({ ...hopeless, postCopy: true });
  // A quarter of them may have gone with its state, as far as it was seen to write them all the time.
  expect(report.pagesAfter).toBeGreaterThan(0);
  expect(report.pagesAfter).toBeLessThanOrEqual(500);
  expect(report.isComplete).toBe(true);
  expect(report.rounds).toBeGreaterThan(1);
});

test('one that would have to stand still for seconds stays', async () => {
  const hopeless = { delayMs: 0, bytesPerMs: 5000, pages: 500, pagesPerMs: 1000, postCopy: false };
  await expect(moved(hopeless, FAST)).rejects.toMatchObject({ code: 'not-converged' });
});
