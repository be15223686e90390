/** Machines whose processes do not answer: nothing is done to them behind anybody's back, and they can be ended. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostError } from '../failure.ts';
import { PretendDaemon } from './testing/pretend.ts';

let daemon: PretendDaemon;
beforeEach(async () => {
  daemon = await PretendDaemon.begin({ freeMemoryBytes: () => 2 ** 40 });
  for (const name of ['web', 'db']) {
    await daemon.create(name);
    await daemon.done(daemon.machines.start(name));
  }
});
afterEach(() => daemon.end());

const idOf = (name: string): string => daemon.machines.find(name).id;
const runOf = (name: string) => daemon.processes.runs.get(idOf(name))!;
const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

test('a daemon that comes back keeps what does not answer, and takes it for what it says it is once it does', async () => {
  await daemon.done(daemon.machines.pause('db'));
  const [web, db] = [idOf('web'), idOf('db')];
  // What they were asked for last was done, and nobody was there any more to write it down.
  runOf('web').state = 'paused';
  runOf('db').state = 'running';
  daemon.processes.silent.add(web).add(db);
  await daemon.again();
  expect([daemon.state('web'), daemon.state('db')]).toEqual(['running', 'paused']);
  expect([...daemon.processes.runs.keys()]).toEqual([web, db]);
  daemon.processes.silent.clear();
  await expect.poll(() => [daemon.state('web'), daemon.state('db')], { timeout: 5000 }).toEqual(['paused', 'running']);
  expect((await daemon.store.machines()).map(({ state }) => state)).toEqual(['running', 'paused']);
  expect(daemon.failures).toEqual([]);
});

test('one that does not answer is stopped from whatever was being done with it', async () => {
  daemon.processes.silent.add(idOf('web'));
  const pausing = daemon.machines.pause('web');
  await later();
  expect(daemon.state('web')).toBe('pausing');
  await daemon.done(daemon.machines.stop('web'));
  await expect(daemon.done(pausing)).rejects.toMatchObject({ code: 'ended' });
  expect([daemon.state('web'), daemon.machines.find('web').end?.kind]).toEqual(['stopped', 'killed']);
  await daemon.done(daemon.machines.start('web'));
});

test('a snapshot is broken off by a stop that asks no guest, and by no other', async () => {
  daemon.processes.silent.add(idOf('web'));
  const taking = daemon.machines.snapshot('web', 'first');
  await later();
  expect(() => daemon.machines.stop('web')).toThrow('in the middle of "snapshot"');
  await daemon.done(daemon.machines.stop('web', 0));
  await expect(daemon.done(taking)).rejects.toMatchObject({ code: 'ended' });
  expect([daemon.state('web'), await daemon.machines.listSnapshots('web')]).toEqual(['stopped', []]);
});

test.each(['snapshot', 'fork'] as const)('what was stopped in the middle of a %s starts at once', async (what) => {
  daemon.processes.silent.add(idOf('web'));
  // As one of which a fork is asked for and that stands still.
  runOf('web').fork = async () => {
    await runOf('web').ended;
    await later();
    throw new HostError('ended', 'it has ended');
  };
  const begun = what === 'snapshot' ? daemon.machines.snapshot('web', 'first') : daemon.machines.fork('web');
  await later();
  await daemon.done(daemon.machines.stop('web', 0));
  const starting = daemon.machines.start('web');
  await expect(daemon.done(begun)).rejects.toMatchObject({ code: 'ended' });
  await daemon.done(starting);
});

test('a guest that is given all the time there is has it', async () => {
  const { promise, resolve } = Promise.withResolvers<'shutdown'>();
  const run = runOf('web');
  run.stop = () => promise;
  const stopping = daemon.machines.stop('web', 2 ** 31 - 1);
  await later();
  expect([daemon.state('web'), daemon.processes.runs.has(idOf('web'))]).toEqual(['stopping', true]);
  run.end({ kind: 'poweroff' });
  resolve('shutdown');
  await daemon.done(stopping);
  expect(daemon.machines.find('web').end?.kind).toBe('poweroff');
});

test('who becomes impatient with a stop ends it at once', async () => {
  const run = runOf('web');
  const stop = run.stop.bind(run);
  run.stop = (options) => (options.timeoutMs > 0 ? new Promise(() => undefined) : stop(options));
  const stopping = daemon.machines.stop('web', 60_000);
  await later();
  await daemon.done(daemon.machines.stop('web', 0));
  await daemon.done(stopping);
  expect([daemon.state('web'), run.patienceMs]).toEqual(['stopped', 0]);
});

test('what machines take is told of the others while one does not answer, and asked for once', async () => {
  let asked = 0;
  const { usage } = runOf('db');
  runOf('web').usage = () => new Promise(() => undefined);
  runOf('db').usage = () => (asked++, usage());
  const begunMs = performance.now();
  const [one, other] = await Promise.all([daemon.machines.usage(), daemon.machines.usage()]);
  expect(performance.now() - begunMs).toBeLessThan(4500);
  expect([one.map(({ name }) => name), other === one, asked]).toEqual([['db'], true, 1]);
});

describe('one that answers and has not done in time what it was asked', () => {
  const events: string[] = [];
  const eventsNow = async (): Promise<string[]> => {
    const all = [];
    for await (const { kind } of daemon.events.list(0, false, new AbortController().signal)) all.push(kind);
    return all.slice(events.length);
  };
  const late = (): Promise<never> => Promise.reject(new HostError('timeout', 'it does not answer'));
  beforeEach(async () => {
    events.splice(0, events.length, ...(await eventsNow()));
  });

  test('is taken for what it comes to, however long that takes, and nobody says that it is silent', async () => {
    await daemon.done(daemon.machines.pause('web'));
    const run = runOf('web');
    run.resume = late;
    run.isChanging = true;
    await expect(daemon.done(daemon.machines.resume('web'))).rejects.toMatchObject({
      code: 'timeout',
      message: 'the virtual machine "web" has not gone on in time; it may do so yet',
    });
    // As it does, it says that it is paused.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(daemon.state('web')).toBe('paused');
    run.state = 'running';
    await expect.poll(() => daemon.state('web'), { timeout: 3000 }).toBe('running');
    run.isChanging = false;
    expect(await eventsNow()).toEqual(['vm.paused', 'vm.resumed']);
    expect((await daemon.store.machines()).map(({ state }) => state)).toEqual(['running', 'running']);
  });

  test('is asked by one, however often it is late, and by the next daemon', async () => {
    const run = runOf('web');
    const { status } = run;
    let asked = 0;
    run.status = () => (asked++, status());
    run.pause = late;
    run.isChanging = true;
    for (let times = 0; times < 5; times++)
      await expect(daemon.done(daemon.machines.pause('web'))).rejects.toMatchObject({ code: 'timeout' });
    asked = 0;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(asked).toBeLessThanOrEqual(2);
    await daemon.again();
    run.state = 'paused';
    await expect.poll(() => daemon.state('web'), { timeout: 3000 }).toBe('paused');
    run.isChanging = false;
  });
});

describe('machines whose process is their label’s and does not answer', () => {
  beforeEach(async () => {
    for (const name of ['red', 'blue']) {
      await daemon.done(await daemon.machines.create({ name, network: 'none', label: 'paint' }));
      await daemon.done(daemon.machines.start(name));
    }
    for (const name of ['red', 'blue']) daemon.processes.silent.add(idOf(name));
  });

  test('are not ended because one of them is stopped; that one ends when the process answers', async () => {
    const stopping = daemon.machines.stop('red', 0);
    await expect
      .poll(() => daemon.operations.get(stopping.id).step)
      .toBe(
        'its process does not answer, and "blue" would end with it: it ends when that answers, or when they are stopped, too',
      );
    expect([daemon.state('red'), daemon.state('blue')]).toEqual(['stopping', 'running']);
    daemon.processes.silent.clear();
    await daemon.done(stopping);
    expect([daemon.state('red'), daemon.state('blue')]).toEqual(['stopped', 'running']);
  });

  test('are ended with it when all of them are stopped', async () => {
    const stopping = [daemon.machines.stop('red', 0), daemon.machines.stop('blue')];
    await Promise.all(stopping.map((each) => daemon.done(each)));
    expect([daemon.state('red'), daemon.state('blue'), daemon.state('web')]).toEqual(['stopped', 'stopped', 'running']);
  });

  test('stay as they are when a daemon comes back, also those that went on from a snapshot just then', async () => {
    const { stored } = daemon.machines.find('red');
    await daemon.store.putMachine({ ...stored!, state: 'restoring' });
    await daemon.again();
    expect([daemon.state('red'), daemon.state('blue')]).toEqual(['running', 'running']);
    expect(daemon.processes.runs.size).toBe(4);
  });
});
