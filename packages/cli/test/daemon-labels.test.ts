/** Machines of a daemon that trust each other share a process and its pages; with others they share nothing. */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineView, UsageView } from '@ringfence/api';
import { RemoteVM } from '@ringfence/host/control';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RealDaemon } from './testing/daemon.ts';

const MiB = 2 ** 20;
const SHARE_TIMEOUT_MS = 60_000;

let daemon: RealDaemon;
beforeAll(async () => {
  daemon = new RealDaemon({ listens: true });
  await daemon.start();
});
afterAll(() => daemon[Symbol.asyncDispose]());

const start = (vm: string): Promise<unknown> => daemon.client.run('vm.start', { vm });
const stop = (vm: string, timeoutMs = 0): Promise<unknown> => daemon.client.run('vm.stop', { vm, timeoutMs });
const pidOf = async (name: string): Promise<number | undefined> => (await daemon.machine(name)).pid;
const usageOf = async (name: string): Promise<UsageView> => {
  const usage = (await daemon.client.ask('vm.usage', {})).find((each) => each.name === name);
  if (usage === undefined) throw new Error(`${name} does not run`);
  return usage;
};
const until = async <T>(what: () => Promise<T>, isThere: (value: T) => boolean): Promise<T> => {
  for (const late = performance.now() + SHARE_TIMEOUT_MS; ; await sleep(100)) {
    const value = await what();
    if (isThere(value) || performance.now() > late) return value;
  }
};
const stateOf = async (name: string): Promise<MachineView['state']> => (await daemon.machine(name)).state;

test('of one label have one process and frames in common; with another label they have neither', async () => {
  await daemon.create('web', { label: 'shop' });
  await daemon.create('db', { label: 'shop' });
  // Those of a label have the network when one of them has a card.
  await daemon.create('other', { label: 'bank', network: 'user' });
  expect(await daemon.machine('web')).toMatchObject({ label: 'shop', state: 'stopped' });
  await Promise.all(['web', 'db', 'other'].map(start));
  const [web, db, other] = [await pidOf('web'), await pidOf('db'), await pidOf('other')];
  expect(web).toBe(db);
  expect(other).not.toBe(web);
  expect(await daemon.exec('db', 'hostname')).toBe('db');
  expect(await daemon.exec('web', 'hostname')).toBe('web');
  const server = createServer((_request, response) => response.end('from the host'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  expect(await daemon.exec('other', 'wget', '-qO-', `http://10.0.2.2:${port}/`)).toBe('from the host');
  server.close();
  const savedBytes = async (name: string): Promise<number> => (await usageOf(name)).memory?.savedBytes ?? 0;
  // What is equal in one machine alone is less.
  const more = async (): Promise<number> => (await savedBytes('web')) - (await savedBytes('other'));
  expect(await until(more, (bytes) => bytes > 4 * MiB)).toBeGreaterThan(4 * MiB);
  // Each is told its part of the process that they share.
  const parts = (await usageOf('web')).residentBytes + (await usageOf('db')).residentBytes;
  const rss = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${web}/status`, 'utf8'))?.[1]) * 1024;
  expect(parts).toBeGreaterThan(0.7 * rss);
  expect(parts).toBeLessThan(1.3 * rss);
});

test('stop and start one by one, and the others run on', async () => {
  const pid = await pidOf('web');
  await stop('db');
  expect([await stateOf('db'), await stateOf('web')]).toEqual(['stopped', 'running']);
  expect(await daemon.exec('web', 'echo', 'on')).toBe('on');
  // One that was made when their process ran already may be there, too.
  await daemon.create('late', { label: 'shop' });
  await Promise.all(['db', 'late'].map(start));
  expect([await pidOf('db'), await pidOf('web'), await pidOf('late')]).toEqual([pid, pid, pid]);
  await stop('late');
});

test('have snapshots, which they go on from beside the others, and new machines of their label do', async () => {
  const pid = await pidOf('web');
  await daemon.exec('db', 'sh', '-c', 'echo before >/tmp/when');
  await daemon.client.run('snapshot.create', { vm: 'db', name: 'one' });
  await daemon.exec('db', 'sh', '-c', 'echo after >/tmp/when');
  await daemon.client.run('snapshot.restore', { vm: 'db', snapshot: 'one' });
  expect(await daemon.exec('db', 'cat', '/tmp/when')).toBe('before');
  await daemon.client.run('snapshot.restore', { vm: 'db', snapshot: 'one', as: 'db2' });
  expect(await daemon.exec('db2', 'cat', '/tmp/when')).toBe('before');
  expect(await daemon.machine('db2')).toMatchObject({ label: 'shop', pid });
  expect(await daemon.machine('db')).toMatchObject({ pid });
  await stop('db2');
});

test('are found again by the daemon that comes after one that was killed', async () => {
  const pid = await pidOf('web');
  await daemon.client.run('vm.fork', { vm: 'db', names: ['twin'] });
  await daemon.client.run('vm.fork', { vm: 'web', names: ['first'] });
  await daemon.client.run('vm.pause', { vm: 'first' });
  await daemon.client.ask('vm.rename', { vm: 'first', name: 'second' });
  await daemon.kill();
  // One of them ends while nobody is there.
  await RemoteVM.at('db', join(daemon.folder, 'run/ringfence')).stop({ timeoutMs: 0 });
  await daemon.start();
  const forks = [{ name: 'second', state: 'paused' }];
  expect(await daemon.machine('web')).toMatchObject({ state: 'running', pid, label: 'shop', forks });
  await daemon.client.run('vm.resume', { vm: 'second' });
  expect(await daemon.exec('second', 'hostname')).toBe('first');
  expect(await daemon.machine('db')).toMatchObject({ state: 'stopped', end: { kind: 'stopped' } });
  await start('db');
  expect(await pidOf('db')).toBe(pid);
  await daemon.client.ask('vm.rename', { vm: 'db', name: 'sql' });
  expect(await daemon.exec('sql', 'echo', 'there')).toBe('there');
  await daemon.client.run('vm.fork', { vm: 'web', names: ['twin'] });
  expect(await daemon.exec('twin', 'hostname')).toBe('twin');
});

test('run on when one of them is stopped that is paused', async () => {
  await daemon.client.run('vm.pause', { vm: 'sql' });
  await stop('sql');
  expect(await daemon.exec('web', 'echo', 'on')).toBe('on');
  await start('sql');
});

test('end together when their process is killed, and no others with them', async () => {
  const pid = await pidOf('web');
  process.kill(pid ?? 0, 'SIGKILL');
  for (const name of ['web', 'sql'])
    expect(
      await until(
        () => daemon.machine(name),
        ({ state }) => state === 'stopped',
      ),
    ).toMatchObject({
      state: 'stopped',
      end: { kind: 'lost' },
    });
  expect(await daemon.exec('other', 'hostname')).toBe('other');
});

test('move to another daemon one by one, where they have no label, and the others run on', async () => {
  await using there = new RealDaemon({ listens: true });
  await there.start();
  await daemon.trust(there);
  await there.trust(daemon);
  await Promise.all(['web', 'sql'].map(start));
  const pid = await pidOf('sql');
  await daemon.exec('web', 'sh', '-c', 'echo moved >/tmp/what');
  const { notes = [] } = await daemon.client.run('vm.migrate', { vm: 'web', target: there.listens });
  expect(notes.at(-1)).toBe('it has no label there, and a process of its own');
  expect(await there.exec('web', 'cat', '/tmp/what')).toBe('moved');
  expect((await there.machine('web')).label).toBeUndefined();
  expect([await daemon.exec('sql', 'echo', 'on'), await pidOf('sql')]).toEqual(['on', pid]);
  // Its place is another one's now, and it comes back without the label that it had here.
  await daemon.create('next', { label: 'shop' });
  await start('next');
  expect(await pidOf('next')).toBe(pid);
  await there.client.run('vm.migrate', { vm: 'web', target: daemon.listens });
  expect(await daemon.exec('web', 'cat', '/tmp/what')).toBe('moved');
  expect((await daemon.machine('web')).label).toBeUndefined();
  expect(await pidOf('web')).not.toBe(pid);
  await Promise.all(['web', 'sql', 'next'].map((name) => stop(name)));
}, 120_000);

test('move into the process of their label where that daemon lets them keep it, and come back so', async () => {
  await using there = new RealDaemon({ listens: true });
  await there.start();
  await daemon.trust(there, ['shop', 'bank']);
  await there.trust(daemon, ['shop']);
  for (const name of ['one', 'two']) await daemon.create(name, { label: 'shop', network: 'user' });
  await Promise.all(['one', 'two'].map(start));
  await daemon.exec('one', 'sh', '-c', 'echo moved >/tmp/what');
  const move = async (from: RealDaemon, to: RealDaemon, vm: string): Promise<string | undefined> =>
    (await from.client.run('vm.migrate', { vm, target: to.listens })).notes?.at(-1);
  const kept = 'it has the label "shop" there, too, and the process of those that have it';
  expect([await move(daemon, there, 'one'), await move(daemon, there, 'two')]).toEqual([kept, kept]);
  const { pid, label } = await there.machine('one');
  expect([label, await there.machine('two')]).toMatchObject(['shop', { label: 'shop', pid, state: 'running' }]);
  expect(await there.exec('one', 'cat', '/tmp/what')).toBe('moved');
  const savedBytes = async (): Promise<number> =>
    (await there.client.ask('vm.usage', {})).find(({ name }) => name === 'two')?.memory?.savedBytes ?? 0;
  expect(await until(savedBytes, (bytes) => bytes > 4 * MiB)).toBeGreaterThan(4 * MiB);
  // One with other processors than those of its label runs on where it is, and so does one whose pages would follow.
  await there.create('vault', { label: 'bank', cpus: 2 });
  await there.client.run('vm.start', { vm: 'vault' });
  await expect(move(there, daemon, 'vault')).rejects.toMatchObject({ code: 'bad-argument' });
  expect(await there.exec('vault', 'nproc')).toBe('2');
  await there.client.run('vm.stop', { vm: 'vault', timeoutMs: 0 });
  const following = there.client.run('vm.migrate', { vm: 'one', target: daemon.listens, postCopy: true });
  await expect(following).rejects.toMatchObject({ code: 'unsupported' });
  expect(await there.exec('one', 'cat', '/tmp/what')).toBe('moved');
  // That label is kept by nobody there.
  expect(await move(daemon, there, 'other')).toBe('it has no label there, and a process of its own');
  expect((await there.machine('other')).label).toBeUndefined();

  // Its daemon finds both again where they are.
  await there.kill();
  await there.start();
  expect([await there.machine('one'), await there.machine('two')]).toMatchObject([{ pid }, { pid }]);
  expect(await move(there, daemon, 'one')).toBe(kept);
  expect(await daemon.exec('one', 'cat', '/tmp/what')).toBe('moved');
  expect(await daemon.machine('one')).toMatchObject({ label: 'shop', state: 'running' });
  expect(await there.exec('two', 'echo', 'on')).toBe('on');
  await there.client.run('vm.migrate', { vm: 'other', target: daemon.listens });
  await Promise.all(['one', 'other'].map((name) => stop(name)));
  for (const vm of ['one', 'other']) await daemon.client.run('vm.remove', { vm });
  await daemon.create('other', { label: 'bank', network: 'user' });
  await start('other');
}, 120_000);

test('begin anew in another process when all of them have ended', async () => {
  const pid = await pidOf('other');
  await daemon.client.run('vm.reset', { vm: 'other' });
  expect(await daemon.exec('other', 'hostname')).toBe('other');
  expect(await pidOf('other')).not.toBe(pid);
  // Its guest wants that, too.
  await daemon.exec('other', 'sh', '-c', '(sleep 0.2; reboot -f) >/dev/null 2>&1 &');
  await until(
    () => pidOf('other'),
    (now) => now !== undefined && now !== pid,
  );
  await until(
    () => stateOf('other'),
    (state) => state === 'running',
  );
  expect(await daemon.exec('other', 'hostname')).toBe('other');
});

test('have one pool where there is less than they want, and no byte of them is another', async () => {
  await stop('other');
  await daemon.stop();
  await daemon.start('--memory', '96M');
  for (const name of ['red', 'blue']) await daemon.create(name, { memory: '128M', overcommit: {}, label: 'paint' });
  await Promise.all(['red', 'blue'].map(start));
  expect(await pidOf('red')).toBe(await pidOf('blue'));
  // Noise that nothing can pack, twice that, read again.
  const work = `
    mkdir -p /data && mount -t tmpfs -o size=90% none /data && cd /data || exit 1
    dd if=/dev/urandom of=noise bs=1M count=20 2>/dev/null; seq 1 1000000 | head -c 6000000 > text
    first=$(cat noise text | md5sum); [ "$(cat noise text | md5sum)" = "$first" ] && echo same`;
  const done = await Promise.all(['red', 'blue'].map((name) => daemon.exec(name, 'sh', '-c', work)));
  expect(done).toEqual(['same', 'same']);
  await daemon.create('green', { memory: '64M', overcommit: {}, label: 'paint', network: 'user' });
  await expect(start('green')).rejects.toMatchObject({ code: 'unsupported' });
  expect(await stateOf('green')).toBe('stopped');
  const [red, blue] = [(await usageOf('red')).memory?.pool, (await usageOf('blue')).memory?.pool];
  expect([red?.bytes, red?.machines]).toEqual([blue?.bytes, 2]);
  expect(red?.bytes).toBeLessThanOrEqual(96 * MiB);
  expect((red?.packs ?? 0) + (red?.pageOuts ?? 0)).toBeGreaterThan(1000);
});
