/** What machines may have of the memory, with processes that are only pretended. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import process from 'node:process';
import type { OvercommitSettings } from '@ringfence/api';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Labels } from './labels.ts';
import { Memory } from './memory.ts';
import { comingMachine, PretendDaemon, type PretendRun } from './testing/pretend.ts';

const MiB = 1024 ** 2;
const CAPACITY = 256 * MiB;

let daemon: PretendDaemon;
beforeEach(async () => {
  daemon = await PretendDaemon.begin({ memoryCapacity: CAPACITY, freeMemoryBytes: () => 2 ** 40 });
});
afterEach(() => daemon.end());

const made = async (
  name: string,
  overcommit: OvercommitSettings | undefined,
  memory = '512M',
  label?: string,
): Promise<void> =>
  daemon.done(
    await daemon.machines.create({
      name,
      network: 'none',
      memory,
      ...(overcommit === undefined ? {} : { overcommit }),
      ...(label === undefined ? {} : { label }),
    }),
  );
const started = (name: string): Promise<void> => daemon.done(daemon.machines.start(name));
const runOf = (name: string): PretendRun => daemon.runOf(name);
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
    const expected = (memory: string) => daemon.machines.moves.expect(comingMachine('comes', { memory }));
    await expect(expected('57M')).rejects.toMatchObject({ code: 'no-memory' });
    const entry = await expected('56M');
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

  test('of a whole machine is there when it begins: pools have become smaller before', async () => {
    await made('gives', {});
    await made('whole', undefined, '160M');
    await started('gives');
    const run = runOf('gives');
    run.usedBytes = 200 * MiB;
    const { memory } = run;
    let [asked, isGiving] = [256 * MiB, false];
    // It shrinks when it can.
    run.memory = (input) => {
      asked = input.poolBytes ?? asked;
      return memory(isGiving ? { poolBytes: asked } : {});
    };
    const starting = started('whole');
    await expect.poll(() => asked, { timeout: 5000 }).toBeLessThanOrEqual(96 * MiB);
    expect(daemon.processes.runs.has(daemon.machines.find('whole').id)).toBe(false);
    isGiving = true;
    await starting;
    expect(run.poolBytes).toBeLessThanOrEqual(96 * MiB);
  });

  test('is not taken from others when the computer runs short and would not get it back', async () => {
    await daemon.end();
    let free = 2 ** 40;
    daemon = await PretendDaemon.begin({ memoryCapacity: CAPACITY, freeMemoryBytes: () => free });
    await made('one', {});
    await started('one');
    const run = runOf('one');
    run.usedBytes = 200 * MiB;
    free = 0;
    for (let look = 0; look < 5; look++) {
      await daemon.machines.memory.look();
      run.touchedBytes = 200 * MiB;
      run.usedBytes = Math.min(run.usedBytes, 0.98 * run.poolBytes);
    }
    expect(pools('one')).toEqual([200]);
  });

  test('that is waited for is waited for no more when the machine is stopped, or ends', async () => {
    await made('one', { reservation: '40M' });
    await made('two', {});
    await started('one');
    const run = runOf('one');
    const { memory } = run;
    run.memory = (input) => {
      if (input.poolBytes !== undefined) return Promise.reject(new Error('busy'));
      return memory(input);
    };
    run.usedBytes = 250 * MiB;
    const starting = started('two');
    starting.catch(() => undefined);
    await expect.poll(() => daemon.state('two')).toBe('starting');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = performance.now();
    await daemon.done(daemon.machines.stop('two'));
    await expect(starting).rejects.toMatchObject({ code: 'aborted' });
    expect(performance.now() - before).toBeLessThan(3000);
    expect(daemon.state('two')).toBe('stopped');
  });

  test('that a machine was promised stays promised while its process is being started', async () => {
    await made('one', {});
    await made('two', {});
    const { promise: mayStart, resolve } = Promise.withResolvers<void>();
    const start = daemon.processes.start.bind(daemon.processes);
    vi.spyOn(daemon.processes, 'start').mockImplementationOnce(async (...what) => {
      await mayStart;
      return start(...what);
    });
    const starting = started('one');
    await expect.poll(() => vi.mocked(daemon.processes.start).mock.calls.length).toBe(1);
    const second = started('two');
    await new Promise((passed) => setTimeout(passed, 600));
    // All there is was promised to the first one: it gives it when it is there.
    expect(vi.mocked(daemon.processes.start)).toHaveBeenCalledOnce();
    resolve();
    await Promise.all([starting, second]);
    const [one = 0, two = 0] = pools('one', 'two');
    expect(one + two).toBeLessThanOrEqual(256);
  });

  test('of forks that are being made, or were made before the daemon came, is reserved', async () => {
    await made('one', { reservation: '40M' });
    await made('two', { reservation: '150M' });
    await started('one');
    const { promise: mayFork, resolve } = Promise.withResolvers<void>();
    const run = runOf('one');
    const { fork } = run;
    let isForking = false;
    run.fork = async (names) => {
      isForking = true;
      await mayFork;
      await fork(names);
    };
    const forking = daemon.done(daemon.machines.fork('one', ['fork']));
    await expect.poll(() => isForking).toBe(true);
    const refused = { code: 'no-memory', message: expect.stringContaining('92 MiB are reserved already') as string };
    await expect(started('two')).rejects.toMatchObject(refused);
    resolve();
    await forking;
    await expect(started('two')).rejects.toMatchObject(refused);
    await daemon.again();
    await expect(started('two')).rejects.toMatchObject(refused);
  });

  test('for more forks than a pool can have is refused at once', async () => {
    await daemon.end();
    daemon = await PretendDaemon.begin({ memoryCapacity: 2 ** 40, freeMemoryBytes: () => 2 ** 40 });
    await made('one', { reservation: '1G' }, '1G');
    await started('one');
    await expect(daemon.done(daemon.machines.fork('one', [], 3))).rejects.toMatchObject({
      code: 'no-memory',
      message: expect.stringMatching(
        /4.6 GiB of memory cannot be reserved: a machine and its forks can have 3.\d+ GiB/,
      ) as string,
    });
    await expect(made('two', { reservation: '3500M' }, '3500M')).rejects.toMatchObject({ code: 'no-memory' });
  });

  test('of forks is waited for no more when their machine has ended', async () => {
    await made('one', { reservation: '40M' });
    await made('two', {});
    for (const name of ['one', 'two']) await started(name);
    const [one, two] = [runOf('one'), runOf('two')];
    two.usedBytes = two.poolBytes = 240 * MiB;
    two.memory = (
      (memory) => () =>
        memory({})
    )(two.memory);
    const before = performance.now();
    const forking = daemon.done(daemon.machines.fork('one', [], 2));
    forking.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 300));
    one.end({ kind: 'poweroff' });
    await expect(forking).rejects.toMatchObject({ code: 'ended' });
    expect(performance.now() - before).toBeLessThan(3000);
  });

  test('of one that says nothing to the next daemon is what it can have, and it is told nothing', async () => {
    await made('one', {}, '128M');
    await made('two', {});
    await started('one');
    const said = vi.fn<PretendRun['memory']>(() => Promise.reject(new Error('busy')));
    runOf('one').memory = said;
    await daemon.again();
    await started('two');
    expect(said).toHaveBeenCalled();
    expect(said).not.toHaveBeenCalledWith(expect.objectContaining({ poolBytes: expect.anything() as number }));
    // Of 256 MiB, what 128 MiB of memory need in a pool are left out.
    expect(pools('two')[0]).toBeLessThanOrEqual(256 - 163);
  });

  test('that a restore reserves is looked at before the present run is ended', async () => {
    await made('one', { reservation: '32M' });
    await started('one');
    await daemon.done(daemon.machines.snapshot('one', 'first'));
    const run = runOf('one');
    const { yaml } = daemon.machines.find('one').folder;
    writeFileSync(yaml, readFileSync(yaml, 'utf8').replace('32M', '300M'));
    const restoring = daemon.done(await daemon.machines.restore('one', 'first'));
    await expect(restoring).rejects.toMatchObject({ code: 'no-memory' });
    expect([daemon.state('one'), runOf('one') === run]).toEqual(['running', true]);
  });

  test('is a part of what a container or a service may have, where that is less than this computer has', () => {
    const constrained = vi.spyOn(process, 'constrainedMemory');
    try {
      constrained.mockReturnValue(100 * MiB);
      expect(new Memory(() => [], new Labels(() => [], '/machines')).capacityBytes).toBe(80 * MiB);
      for (const none of [0, 2 ** 63]) {
        constrained.mockReturnValue(none);
        expect(new Memory(() => [], new Labels(() => [], '/machines')).capacityBytes).toBe(
          Math.floor(0.8 * totalmem()),
        );
      }
    } finally {
      constrained.mockRestore();
    }
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

describe('machines of one label', () => {
  test('have one pool, which is told to each of them and counted once', async () => {
    await made('one', {}, '512M', 'shop');
    await made('two', { shares: 2000 }, '512M', 'shop');
    await made('other', {}, '512M', 'bank');
    for (const name of ['one', 'two', 'other']) await started(name);
    for (const name of ['one', 'two', 'other']) Object.assign(runOf(name), { usedBytes: 40 * MiB });
    await daemon.machines.memory.look();
    await daemon.machines.memory.look();
    const [one = 0, two = 0, other = 0] = pools('one', 'two', 'other');
    expect(one).toBe(two);
    // By their shares together, and no more than there is.
    expect(one).toBeGreaterThan(other);
    expect(one + other).toBeGreaterThan(250);
    expect(one + other).toBeLessThanOrEqual(256);
  });

  test('begin when there is what those in their pool reserve, and what they begin with', async () => {
    await made('one', { reservation: '96M' }, '512M', 'shop');
    await made('two', { reservation: '64M' }, '512M', 'shop');
    await made('three', { reservation: '64M' }, '512M', 'shop');
    await started('one');
    await started('two');
    expect(pools('one', 'two')[0]).toBeGreaterThanOrEqual(184);
    expect(daemon.machines.memory.reservedBytes()).toBe(Math.ceil(96 * MiB * 1.15) + Math.ceil(64 * MiB * 1.15));
    await expect(started('three')).rejects.toMatchObject({ code: 'no-memory' });
    await expect(daemon.done(daemon.machines.fork('two'))).rejects.toMatchObject({ code: 'no-memory' });
    await daemon.done(daemon.machines.stop('one'));
    await started('three');
  });

  test('are all overcommitted, or none is', async () => {
    await made('one', {}, '128M', 'shop');
    await expect(made('two', undefined, '64M', 'shop')).rejects.toMatchObject({
      code: 'bad-argument',
      message:
        'the virtual machine "two" is to have overcommit none, and "one" has one: all of the label "shop" have the same',
    });
  });
});
