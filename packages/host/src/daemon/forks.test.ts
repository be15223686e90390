/** What is done with forks, and what is refused, without guests. */

import { FORK_OPERATIONS, OPERATIONS } from '@ringfence/api';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostError } from '../failure.ts';
import { PretendDaemon } from './testing/pretend.ts';
import type { PretendFork } from './testing/pretend-fork.ts';

let daemon: PretendDaemon;
beforeEach(async () => {
  daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40 });
  await daemon.create('web');
  await daemon.done(daemon.machines.start('web'));
  await daemon.done(daemon.machines.fork('web', ['one', 'two']));
});
afterEach(async () => {
  const { failures } = daemon;
  await daemon.end();
  if (failures.length > 0) throw new AggregateError(failures, 'something does not work');
});

const forks = async (): Promise<string[]> =>
  ((await daemon.machines.inspect('web')).forks ?? []).map(({ name, state }) => `${name} ${state}`);
const forkOf = (name: string): PretendFork => {
  const fork = daemon.runOf('web').knownForks.get(name);
  if (fork === undefined) throw new Error(`there is no fork ${name}`);
  return fork;
};
const events = async (): Promise<string[]> => {
  const said: string[] = [];
  for await (const { kind, vm, detail } of daemon.events.list(0, false, new AbortController().signal))
    if (kind.includes('fork') || kind === 'vm.snapshot')
      said.push([kind, vm.name, ...Object.entries(detail).map(([field, value]) => `${field}=${value}`)].join(' '));
  return said;
};

describe('a fork', () => {
  test('is paused and goes on by itself, whatever its machine does', async () => {
    await daemon.done(daemon.machines.pause('one'));
    expect([await forks(), daemon.state('web')]).toEqual([['one paused', 'two running'], 'running']);
    await daemon.done(daemon.machines.pause('web'));
    await daemon.done(daemon.machines.resume('one'));
    expect([await forks(), daemon.state('web')]).toEqual([['one running', 'two running'], 'paused']);
    expect(await events()).toEqual([
      'vm.forked web forks=one two',
      'vm.fork-paused web fork=one',
      'vm.fork-resumed web fork=one',
    ]);
  });

  test('is refused what its state does not allow', async () => {
    await daemon.done(daemon.machines.pause('one'));
    const refused = { code: 'wrong-state' };
    expect(() => daemon.machines.pause('one')).toThrow('the virtual machine "one" is paused already');
    expect(() => daemon.machines.resume('two')).toThrow(expect.objectContaining(refused));
    expect(() => daemon.machines.fork('one')).toThrow(
      'the virtual machine "one" is paused, and "fork" is for one that is running',
    );
  });

  test('that could not be paused or does not answer in time is what its process says it is', async () => {
    daemon.processes.failing = 'pause';
    await expect(daemon.done(daemon.machines.pause('one'))).rejects.toMatchObject({ code: 'unavailable' });
    expect(await forks()).toEqual(['one running', 'two running']);
    const late = forkOf('two');
    late.pause = () => {
      late.state = 'paused';
      return Promise.reject(new HostError('timeout', 'it does not answer'));
    };
    await expect(daemon.done(daemon.machines.pause('two'))).rejects.toMatchObject({ code: 'timeout' });
    await expect.poll(forks).toEqual(['one running', 'two paused']);
  });

  test('is called something else, and its name is free for others', async () => {
    await daemon.machines.rename('one', 'uno');
    expect(await forks()).toEqual(['two running', 'uno running']);
    await daemon.done(daemon.machines.fork('web', ['one']));
    await expect(daemon.machines.rename('two', 'web')).rejects.toMatchObject({ code: 'name-taken' });
    await expect(daemon.machines.rename('two', 'uno')).rejects.toMatchObject({ code: 'name-taken' });
    await daemon.machines.rename('two', 'two');
    expect(await forks()).toEqual(['one running', 'two running', 'uno running']);
    expect((await events())[1]).toBe('vm.fork-renamed web from=one fork=uno');
  });

  test('is forked, and what is made of it is one more of its machine’s', async () => {
    await daemon.done(daemon.machines.fork('one', ['three'], 2));
    forkOf('one').end('poweroff');
    expect(await forks()).toEqual(['one-1 running', 'three running', 'two running']);
    expect(await events()).toEqual([
      'vm.forked web forks=one two',
      'vm.forked web forks=three one-1 of=one',
      'vm.fork-ended web fork=one how=poweroff',
    ]);
    await daemon.done(daemon.machines.stop('web'));
    expect(await forks()).toEqual([]);
  });

  test('is stopped as a machine is, and is gone then', async () => {
    await daemon.done(daemon.machines.pause('one'));
    await daemon.done(daemon.machines.stop('one'));
    await daemon.done(daemon.machines.stop('two', 0));
    expect(await forks()).toEqual([]);
    expect(() => daemon.machines.stop('one')).toThrow(expect.objectContaining({ code: 'not-found' }));
  });

  test('has snapshots among its machine’s, one at a time', async () => {
    const taken = daemon.machines.snapshot('one', 'first');
    expect(() => daemon.machines.snapshot('web', 'second')).toThrow('is in the middle of "snapshot"');
    expect(() => daemon.machines.snapshot('two', 'second')).toThrow('is in the middle of "snapshot"');
    await daemon.done(taken);
    await daemon.done(daemon.machines.snapshot('two', 'second', 'first'));
    expect((await daemon.machines.listSnapshots('web')).map(({ name }) => name)).toEqual(['first', 'second']);
    expect((await events()).at(-1)).toBe('vm.snapshot web snapshot=second pausedMs=1.0 fork=two');
  });

  test('is told with its machine’s folder and process, and none of its forks', async () => {
    const { id, folder, pid } = await daemon.machines.inspect('web');
    const told = await daemon.machines.inspect('one');
    expect(told).toMatchObject({ id, folder, pid, name: 'one', state: 'running', forkOf: 'web' });
    expect([told.forks, told.start]).toEqual([undefined, undefined]);
  });

  test('is found again by the daemon that comes after, paused as it was', async () => {
    await daemon.done(daemon.machines.pause('two'));
    await daemon.again();
    expect(await forks()).toEqual(['one running', 'two paused']);
    await daemon.done(daemon.machines.resume('two'));
  });

  test('is refused what is for machines alone, with what it can be asked for', async () => {
    const { machines } = daemon;
    const asked = {
      start: () => machines.start('one'),
      reset: () => machines.reset('one'),
      remove: () => machines.remove('one'),
      migrate: () => machines.moves.migrate('one', { host: '127.0.0.1', port: 1 }, {}),
      cpu: () => machines.changeProcessors('one', {}),
    };
    for (const [name, ask] of Object.entries(asked)) {
      await expect((async () => ask())()).rejects.toMatchObject({
        code: 'unsupported',
        message:
          '"one" is a fork of the virtual machine "web"; what can be done with a fork is pause, resume, stop, rename, snapshot and fork',
      });
      expect(OPERATIONS[`vm.${name as keyof typeof asked}`].errors).toContain('unsupported');
    }
    for (const ask of [
      () => machines.listSnapshots('one'),
      () => machines.removeSnapshot('one', 'any'),
      () => machines.restore('one', 'any'),
    ])
      await expect((async () => ask())()).rejects.toMatchObject({ code: 'unsupported' });
    expect(FORK_OPERATIONS).toHaveLength(6);
  });

  test('may be what somebody meant who asks for a name that nobody has', () => {
    expect(() => daemon.machines.pause('onee')).toThrow('there is "one"');
  });
});
