/**
 * Disks of a machine that is moved over links that break, while they are written: what was written and acknowledged is on the disk of the end that has
 * the machine afterwards, and nothing else is.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { BlockStoreError } from '../../src/base/block-store-error.ts';
import type { BlockStore } from '../../src/base/ports.ts';
import { Random } from '../../src/engine/float/testing/vectors.ts';
import { MigrationError } from '../../src/hypervisor/migration/migration-error.ts';
import { MigrationSource } from '../../src/hypervisor/migration/source.ts';
import { MigrationTarget } from '../../src/hypervisor/migration/target.ts';
import type { MirroredStore } from '../../src/hypervisor/migration/outgoing-disks.ts';
import type { DiskMirror } from '../../src/storage/disk-mirror.ts';
import { ForkableStore } from '../../src/storage/forkable-store.ts';
import { MemoryBlockStore } from '../../src/storage/memory-block-store.ts';
import { MemoryImageFile } from '../../src/storage/memory-image-file.ts';
import { openOverlay } from '../../src/storage/open-disk.ts';
import { contentOf, pattern } from '../../src/storage/testing/changes.ts';
import { imageOf, pacedMachine } from '../differential/paced-machine.ts';
import { programOf } from '../differential/programs.ts';
import { BrokenLink, brokenLinkCodec, FAULTS } from './broken-link.ts';

const SIZE = 6 * 1024 * 1024;
const BASE = pattern(3, SIZE);
const SECTOR = 512;
/** Messages of one migration, about: faults are spread over so many. */
const MESSAGES = 60;
const CLOCK = { monotonicNs: () => performance.now() * 1e6, sleep };

/** A disk of its own in front of what both ends have, and what it is to hold. */
async function overlay(): Promise<ForkableStore> {
  const base = new MemoryBlockStore(BASE.slice(), true);
  return new ForkableStore(await openOverlay(new MemoryImageFile('disk'), base));
}

/** Writes to random places all the time, but while it stands still, as a guest does. */
class Writer {
  readonly expected = BASE.slice();
  acknowledged = 0;
  isPaused = false;
  readonly #random: Random;
  readonly #underWay = new Set<Promise<void>>();
  #busy = new Set<number>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** Sends some writes; what is acknowledged is expected from then on, whatever the machine has become meanwhile. */
  write(store: BlockStore): void {
    if (this.isPaused || this.#underWay.size > 8) return;
    const sectors = 1 + this.#random.below(300);
    const first = this.#random.below(SIZE / SECTOR - sectors);
    // Two writes of the same place at once may end in either order.
    const cells = Array.from({ length: sectors }, (_, n) => first + n);
    if (cells.some((cell) => this.#busy.has(cell))) return;
    for (const cell of cells) this.#busy.add(cell);
    const bytes = new Uint8Array(sectors * SECTOR).fill(this.#random.below(256));
    const isZero = bytes[0] === 0;
    const written = isZero
      ? store.writeZeroes(first * SECTOR, bytes.length, true)
      : store.write(first * SECTOR, [bytes]);
    const acknowledge = async (): Promise<void> => {
      await written;
      this.expected.set(bytes, first * SECTOR);
      this.acknowledged++;
      for (const cell of cells) this.#busy.delete(cell);
    };
    const over = acknowledge().finally(() => this.#underWay.delete(over));
    this.#underWay.add(over);
  }

  async pause(): Promise<boolean> {
    this.isPaused = true;
    await Promise.all(this.#underWay);
    return true;
  }

  resume(): void {
    this.isPaused = false;
  }

  async runFor(ms: number): Promise<boolean> {
    this.resume();
    await sleep(ms);
    return this.pause();
  }
}

test('what was acknowledged is on the disk where the machine is, whatever becomes of the link', async () => {
  const random = new Random(20_261_127);
  let disk = await overlay();
  const writer = new Writer(random);
  let [moved, stayed] = [0, 0];
  for (let round = 0; round < 40; round++) {
    const link = new BrokenLink(random, { kind: random.pick(FAULTS), at: random.below(MESSAGES) });
    const [here, there] = link.ends;
    const machine = await pacedMachine('interpreter');
    const fresh = await overlay();
    let runs = false;
    const target = new MigrationTarget({
      link: there,
      codec: brokenLinkCodec(),
      clock: CLOCK,
      make: () => pacedMachine('interpreter'),
      disks: () => [fresh],
      run: () => (runs = true),
    });
    const from = disk;
    const source = new MigrationSource({
      machine,
      runner: writer,
      clock: CLOCK,
      codec: brokenLinkCodec(),
      link: here,
      about: null,
      disks: [{ store: from, layers: 1, isBlank: false }],
      downtimeMs: 1000,
      settle: () => target.arrived.then(() => 'target' as const).catch(() => 'source' as const),
    });
    let isOver = false;
    const moving = source.run().then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof MigrationError)) throw error;
        return false;
      },
    );
    void moving.finally(() => (isOver = true));
    for (let turn = 0; !isOver; turn++) {
      if (turn > 3000) link.close();
      writer.write(from);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const isMoved = await moving;
    expect([isMoved, writer.isPaused]).toEqual([runs, isMoved]);
    if (isMoved) {
      disk = fresh;
      moved++;
      writer.resume();
    } else stayed++;
    await writer.pause();
    expect(Buffer.compare(await contentOf(disk), writer.expected)).toBe(0);
    writer.resume();
  }
  expect(writer.acknowledged).toBeGreaterThan(100);
  expect([moved > 5, stayed > 5]).toEqual([true, true]);
});

test('a disk there that is full leaves the machine where it is, and says so', async () => {
  const writer = new Writer(new Random(5));
  const [disk, full] = [await overlay(), await overlay()];
  await disk.write(0, [new Uint8Array(SECTOR).fill(1)]);
  full.write = () => Promise.reject(new BlockStoreError('full', 'Disk "d" cannot be written: there is no space left'));
  const [here, there] = new BrokenLink(new Random(1), { kind: 'none', at: 0 }).ends;
  const target = new MigrationTarget({
    link: there,
    codec: brokenLinkCodec(),
    clock: CLOCK,
    make: () => pacedMachine('interpreter'),
    disks: () => [full],
    run: () => undefined,
  });
  const source = new MigrationSource({
    machine: await pacedMachine('interpreter'),
    runner: writer,
    clock: CLOCK,
    codec: brokenLinkCodec(),
    link: here,
    about: null,
    disks: [{ store: disk, layers: 1, isBlank: false }],
    settle: () => Promise.resolve('source'),
  });
  await expect(source.run()).rejects.toBeInstanceOf(MigrationError);
  await expect(target.arrived).rejects.toMatchObject({ code: 'refused', reason: 'no-space' });
  expect(writer.isPaused).toBe(false);
});

/** Hours of this one are short. */
const fastClock = (speed: number): typeof CLOCK => ({
  monotonicNs: () => performance.now() * 1e6 * speed,
  sleep: (ms?: number) => sleep((ms ?? 0) / speed),
});

test.each([
  ['on a fast link, the machine is moved', 1, true],
  ['on a slow one, it stays', 100, false],
])('a disk that is written faster than it is sent holds nobody up: %s', async (_what, speed, isMoved) => {
  const [here, there] = new BrokenLink(new Random(2), { kind: 'none', at: 0 }).ends;
  const writer = new Writer(new Random(6));
  let mirror: DiskMirror | undefined;
  const sizeBytes = 24 * 1024 * 1024;
  const store: MirroredStore = {
    sizeBytes,
    read: (_offset, into) => Promise.resolve(void into[0]?.fill(1)),
    set mirror(it: DiskMirror | undefined) {
      mirror = it;
    },
  };
  const target = new MigrationTarget({
    link: there,
    codec: brokenLinkCodec(),
    clock: fastClock(speed),
    make: () => pacedMachine('interpreter'),
    disks: () => [new MemoryBlockStore(new Uint8Array(sizeBytes), false)],
    run: () => undefined,
    wait: () => there.waiting,
  });
  const source = new MigrationSource({
    machine: await pacedMachine('interpreter', imageOf(programOf.strict(1))),
    runner: writer,
    clock: fastClock(speed),
    codec: brokenLinkCodec(),
    link: here,
    about: null,
    rounds: 4,
    disks: [{ store, layers: 1, isBlank: false }],
    onProgress: () => void (writer.isPaused || mirror?.changed(0, sizeBytes)),
    settle: () => Promise.resolve('source'),
  });
  const moving = source.run().then(
    () => true,
    (error: unknown) => (error instanceof MigrationError && error.code === 'not-converged' ? false : error),
  );
  expect(await moving).toBe(isMoved);
  expect(writer.isPaused).toBe(isMoved);
  here.close();
  await target.arrived.catch(() => undefined);
});
