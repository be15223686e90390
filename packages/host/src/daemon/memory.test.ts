/** What machines may have of the memory, with processes that are only pretended. */

import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { OvercommitSettings } from '@ringfence/api';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { PretendDaemon, type PretendRun } from './testing/pretend.ts';

const MiB = 1024 ** 2;
const CAPACITY = 256 * MiB;

let daemon: PretendDaemon;
beforeEach(async () => {
  daemon = await PretendDaemon.begin({ memoryCapacity: CAPACITY, freeMemoryBytes: () => 2 ** 40 });
});
afterEach(() => daemon.end());

const made = async (name: string, overcommit: OvercommitSettings | undefined, memory = '512M'): Promise<void> =>
  daemon.done(
    await daemon.machines.create({
      name,
      network: 'none',
      memory,
      ...(overcommit === undefined ? {} : { overcommit }),
    }),
  );
const started = (name: string): Promise<void> => daemon.done(daemon.machines.start(name));
const runOf = (name: string): PretendRun => {
  const run = daemon.processes.runs.get(daemon.machines.find(name).id);
  if (run === undefined) throw new Error(`${name} does not run`);
  return run;
};
const pools = (...names: string[]): number[] => names.map((name) => Math.round(runOf(name).poolBytes / MiB));

describe('memory', () => {
  test('that is reserved is refused to others before they start, with the figures', async () => {
    await made('one', { reservation: '128M' });
    await made('two', { reservation: '128M' });
    await started('one');
    await expect(started('two')).rejects.toMatchObject({
      code: 'no-memory',
      message: expect.stringMatching(
        /"two" is to have 147.2 MiB .* of the 256 MiB .* 147.2 MiB are reserved/,
      ) as string,
    });
    expect(daemon.state('two')).toBe('stopped');
    expect(daemon.state('one')).toBe('running');
    await daemon.done(daemon.machines.stop('one'));
    await started('two');
  });

  test('of a machine without "overcommit" is all reserved', async () => {
    await made('whole', undefined, '200M');
    await made('small', undefined, '64M');
    await started('whole');
    await expect(started('small')).rejects.toMatchObject({ code: 'no-memory' });
    await made('gives', {});
    await started('gives');
    // Less than it would begin with is there for it: it begins with what there is.
    expect(pools('gives')).toEqual([56]);
  });

  test('of one that comes from another daemon must be there before it does', async () => {
    await made('whole', undefined, '200M');
    await started('whole');
    const expected = (bytes: number) =>
      daemon.machines.moves.expect(randomUUID(), 'comes', {}, { bytes, overcommit: undefined });
    await expect(expected(57 * MiB)).rejects.toMatchObject({ code: 'no-memory' });
    const entry = await expected(56 * MiB);
    expect(daemon.machines.memory.reservedBytes()).toBe(CAPACITY);
    await daemon.machines.moves.notArrived(entry);
    expect(daemon.machines.memory.reservedBytes()).toBe(200 * MiB);
  });

  test('that cannot be is refused when the machine is made', async () => {
    await expect(made('one', { limit: '8M' })).rejects.toMatchObject({
      code: 'bad-argument',
      message: 'overcommit.limit of 8 MiB is under what a guest needs, which is 16 MiB at least',
    });
    await expect(made('one', { limit: '64M', reservation: '65M' })).rejects.toMatchObject({
      code: 'bad-argument',
      message: 'overcommit.reservation of 65 MiB is more than the machine can have, which is 64 MiB',
    });
    await expect(made('one', { reservation: 'much' })).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(made('one', { reservation: '300M' })).rejects.toMatchObject({
      code: 'no-memory',
      message: '345 MiB of memory cannot be reserved: machines may have 256 MiB together',
    });
    expect(await daemon.machines.list()).toEqual([]);
  });

  test('is divided by shares among those that want more than there is', async () => {
    await made('one', { shares: 1000 });
    await made('two', { shares: 3000 });
    await started('one');
    expect(pools('one')).toEqual([256]);
    // It has not used it yet, and gives at once; so there is room for the other one.
    await started('two');
    for (let look = 0; look < 20; look++) {
      for (const name of ['one', 'two']) runOf(name).usedBytes = 0.99 * runOf(name).poolBytes;
      await daemon.machines.memory.look();
    }
    const [one = 0, two = 0] = pools('one', 'two');
    expect(one + two).toBeLessThanOrEqual(256);
    expect(two).toBeGreaterThan(one);
  });

  test('of machines that run is what it was when the next daemon comes', async () => {
    await made('one', { reservation: '128M' });
    await made('two', { reservation: '128M' });
    await started('one');
    const before = pools('one');
    await daemon.again();
    await daemon.machines.memory.look();
    expect(pools('one')).toEqual(before);
    await expect(started('two')).rejects.toMatchObject({ code: 'no-memory' });
  });

  test('of forks is reserved, too: they wait until others have given it, or are refused with the figures', async () => {
    await made('one', { reservation: '40M' });
    await made('two', {});
    for (const name of ['one', 'two']) await started(name);
    await daemon.done(daemon.machines.fork('one', ['fork']));
    expect(runOf('one').poolBytes).toBeGreaterThanOrEqual(2 * 46 * MiB);
    expect(runOf('one').made).toEqual(['fork']);
    await expect(daemon.done(daemon.machines.fork('one', [], 5))).rejects.toMatchObject({
      code: 'no-memory',
      message: expect.stringMatching(
        /"one" is with its forks to have 322 MiB .* of the 256 MiB .* 32 MiB are/,
      ) as string,
    });
  });

  test('that one has does not become another’s because it does not answer', async () => {
    await made('one', {});
    await made('two', {});
    await started('one');
    runOf('one').memory = () => Promise.reject(new Error('busy'));
    vi.spyOn(daemon.machines.memory, 'look');
    const starting = started('two');
    await expect.poll(() => vi.mocked(daemon.machines.memory.look).mock.calls.length).toBeGreaterThan(1);
    expect(daemon.state('two')).toBe('starting');
    runOf('one').end({ kind: 'poweroff' });
    await starting;
    expect(pools('two')).toEqual([256]);
  });
});

test('a machine that is made stays, though that it is cannot be written down', async () => {
  const making = await daemon.machines.create({ name: 'web', network: 'none' });
  vi.spyOn(daemon.store, 'putMachine').mockRejectedValueOnce(new Error('the disk is full'));
  await expect(daemon.done(making)).rejects.toThrow(/./);
  expect(daemon.state('web')).toBe('stopped');
  const { path } = daemon.machines.find('web').folder;
  expect(existsSync(path)).toBe(true);
  // The next daemon finds it, too.
  await daemon.again();
  expect(daemon.state('web')).toBe('stopped');
  await daemon.done(daemon.machines.remove('web'));
  expect(existsSync(path)).toBe(false);
});
