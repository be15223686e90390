/** Machines that have all of their memory, where nobody said what machines may have together: what is free now, and what others can still come to. */

import { writeFileSync } from 'node:fs';
import type { OvercommitSettings } from '@ringfence/api';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { OVERHEAD_BYTES } from '../advice/consolidation.ts';
import { hostBytes } from './capacity.ts';
import { PretendDaemon, type PretendRun } from './testing/pretend.ts';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
/** Of the computer, whatever is free. */
const KEPT = 0.05 * hostBytes();

let daemon: PretendDaemon;
/** For machines, beside what is kept. */
let free: number;
beforeEach(async () => {
  free = 3 * GiB;
  daemon = await PretendDaemon.begin({ freeMemoryBytes: () => KEPT + free });
});
afterEach(() => daemon.end());

const made = async (name: string, memory: string, overcommit?: OvercommitSettings): Promise<void> =>
  daemon.done(
    await daemon.machines.create({
      name,
      network: 'none',
      memory,
      ...(overcommit === undefined ? {} : { overcommit }),
    }),
  );
const started = (name: string): Promise<void> => daemon.done(daemon.machines.start(name));
const runOf = (name: string): PretendRun => daemon.runOf(name);
/** Its guest has touched so much, which is not free any more. */
async function touches(name: string, bytes: number): Promise<void> {
  const usage = await runOf(name).usage();
  free -= bytes + OVERHEAD_BYTES;
  runOf(name).usage = () =>
    Promise.resolve({ ...usage, residentBytes: bytes + OVERHEAD_BYTES, guestResidentBytes: bytes });
}

describe('a machine that has all of its memory', () => {
  test('is refused with the figures, and what to do, when those that run can still come to what is free', async () => {
    for (const name of ['one', 'two', 'three']) await made(name, '1G');
    await started('one');
    await started('two');
    // 1.2 GiB each: two of three are there, though nothing has been touched yet.
    await expect(started('three')).rejects.toMatchObject({
      code: 'no-memory',
      message:
        'the virtual machine "three" can come to 1.2 GiB more of this computer’s memory, of which machines may take 3 GiB now, and others can still come to 2.4 GiB; ' +
        'create it with "--overcommit" to let it have less, or say with "ringfence host --memory" what machines may have together',
    });
    expect(['one', 'two', 'three'].map((name) => daemon.state(name))).toEqual(['running', 'running', 'stopped']);
    await daemon.done(daemon.machines.stop('one'));
    await started('three');
  });

  test('is not counted twice: what its guest has touched is not free any more, and will not be wanted again', async () => {
    for (const name of ['one', 'two', 'three']) await made(name, '1G');
    await started('one');
    await touches('one', GiB);
    expect(free).toBeLessThan(1.9 * GiB);
    await started('two');
    await expect(started('three')).rejects.toMatchObject({ code: 'no-memory' });
  });

  test('begins though another is about to, when there is enough for one of the two', async () => {
    for (const name of ['one', 'two', 'three']) await made(name, '1G');
    await started('one');
    free = 2.5 * GiB;
    const both = await Promise.allSettled([started('two'), started('three')]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  test('has forks as many as share what one domain can have, however many there are', async () => {
    free = 5 * GiB;
    await made('one', '512M');
    await made('two', '512M');
    await started('one');
    await daemon.done(daemon.machines.fork('one', [], 1000));
    // A domain is 4 GiB.
    await started('two');
    free = 4.5 * GiB;
    await daemon.done(daemon.machines.stop('two'));
    await expect(started('two')).rejects.toMatchObject({ code: 'no-memory' });
    await daemon.again();
    await expect(started('two')).rejects.toMatchObject({ code: 'no-memory' });
    // Its forks have ended.
    runOf('one').made = [];
    await started('two');
  });

  test('is not forked where its forks could come to more than there is', async () => {
    await made('one', '1G');
    await started('one');
    await expect(daemon.done(daemon.machines.fork('one', [], 3))).rejects.toMatchObject({
      code: 'no-memory',
      message: expect.stringContaining('"one" can come to 4.2 GiB more') as string,
    });
    await daemon.done(daemon.machines.fork('one', [], 1));
    expect(runOf('one').made).toHaveLength(1);
  });

  test('begins anew when its guest asks for that, whatever others took meanwhile', async () => {
    await made('one', '1G');
    await started('one');
    free = 0;
    await daemon.done(daemon.machines.reset('one'));
    expect(daemon.state('one')).toBe('running');
  });

  test('has what pools do not need: they are made smaller before it begins, and leave what it can come to', async () => {
    await made('gives', '2G', {});
    await made('whole', '2G');
    await started('gives');
    expect(runOf('gives').poolBytes).toBeGreaterThan(2 * GiB);
    await started('whole');
    expect(runOf('gives').poolBytes).toBeLessThanOrEqual(free - 2 * GiB - OVERHEAD_BYTES);
    // And so they stay.
    runOf('gives').usedBytes = 0.99 * runOf('gives').poolBytes;
    const before = runOf('gives').poolBytes;
    free -= before;
    for (let look = 0; look < 5; look++) await daemon.machines.memory.look();
    expect(runOf('gives').poolBytes).toBeLessThanOrEqual(before + MiB);
  });

  test('is refused with what to do when a pool was told to be smaller and is not', async () => {
    await made('gives', '2G', {});
    await made('whole', '2G');
    await started('gives');
    const stays = await runOf('gives').memory({});
    runOf('gives').memory = () => Promise.resolve(stays);
    const now = performance.now.bind(performance);
    let passedMs = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + (passedMs += 5000));
    await expect(started('whole')).rejects.toMatchObject({
      code: 'no-memory',
      message: expect.stringMatching(
        /^within 20 s others did not give what is needed: .*"whole" can come to 2.2 GiB more .* what machines may have together$/,
      ) as string,
    });
    clock.mockRestore();
  });

  test('is not asked for what it has as long as there is enough for all that they could come to', async () => {
    free = 100 * GiB;
    await made('one', '1G');
    await made('two', '1G');
    await started('one');
    const usage = vi.spyOn(runOf('one'), 'usage');
    await started('two');
    await daemon.done(daemon.machines.fork('one', [], 10));
    expect(usage).not.toHaveBeenCalled();
  });
});

describe('a daemon that comes back', () => {
  beforeEach(async () => {
    await daemon.end();
    daemon = await PretendDaemon.begin({ memoryCapacity: 8 * GiB, freeMemoryBytes: () => 2 ** 40 });
    for (const name of ['first', 'one', 'two']) {
      await made(name, '1G');
      await started(name);
    }
  });

  test('starts again what restarted itself meanwhile, when it knows how many the others are', async () => {
    const { id, folder } = daemon.machines.find('first');
    daemon.processes.runs.delete(id);
    writeFileSync(folder.end, JSON.stringify({ kind: 'reboot', at: new Date().toISOString() }));
    await daemon.again();
    await daemon.operations.settled(5000);
    expect(daemon.state('first')).toBe('running');
  });

  test('does not, where the forks of the others leave no memory for that', async () => {
    await daemon.done(daemon.machines.fork('one', [], 3));
    runOf('two').made = ['a', 'b', 'c'];
    const { id, folder } = daemon.machines.find('first');
    daemon.processes.runs.delete(id);
    writeFileSync(folder.end, JSON.stringify({ kind: 'reboot', at: new Date().toISOString() }));
    await daemon.again();
    await daemon.operations.settled(5000);
    expect(daemon.state('first')).toBe('stopped');
  });

  test('takes one that does not answer for one without forks, until it does', async () => {
    await daemon.done(daemon.machines.stop('first'));
    runOf('one').made = ['a', 'b'];
    const { usage } = runOf('one');
    for (const name of ['one', 'two']) {
      daemon.processes.silent.add(daemon.machines.find(name).id);
      runOf(name).usage = () => new Promise(() => undefined);
    }
    await daemon.again();
    expect(daemon.machines.memory.reservedBytes()).toBe(2 * GiB);
    await started('first');
    runOf('one').usage = usage;
    await daemon.machines.memory.look();
    expect(daemon.machines.memory.reservedBytes()).toBe(5 * GiB);
  });
});

test('an answer that was on its way while forks were made does not say how many there are', async () => {
  await daemon.end();
  daemon = await PretendDaemon.begin({ memoryCapacity: 8 * GiB, freeMemoryBytes: () => 2 ** 40 });
  await made('one', '1G');
  await started('one');
  await daemon.done(daemon.machines.fork('one', [], 1));
  const run = runOf('one');
  const { fork } = run;
  const answer = Promise.withResolvers<readonly string[]>();
  const asked = Promise.withResolvers<void>();
  let looking: Promise<void> | undefined;
  run.fork = async (names) => {
    run.forks = () => (asked.resolve(), answer.promise);
    looking = daemon.machines.memory.look();
    await asked.promise;
    await fork(names);
  };
  await daemon.done(daemon.machines.fork('one', [], 1));
  answer.resolve(['one-1']);
  await looking;
  expect(daemon.machines.memory.reservedBytes()).toBe(3 * GiB);
});

test('where it was said what machines may have together, forks of a machine that has all of its memory count', async () => {
  await daemon.end();
  daemon = await PretendDaemon.begin({ memoryCapacity: 3.5 * GiB, freeMemoryBytes: () => 2 ** 40 });
  await made('one', '1G');
  await made('two', '1G');
  await started('one');
  await expect(daemon.done(daemon.machines.fork('one', [], 2))).resolves.toBeUndefined();
  await expect(started('two')).rejects.toMatchObject({ code: 'no-memory' });
  runOf('one').made = ['one-1'];
  await daemon.machines.memory.look();
  await started('two');
  await expect(daemon.done(daemon.machines.fork('one', [], 1))).rejects.toMatchObject({
    code: 'no-memory',
    message: expect.stringMatching(/"one" is with its forks to have 3 GiB .* of the 3.5 GiB .* 1 GiB are/) as string,
  });
});
