/** Machines of the daemon that go on from a kept boot when they are started, with real guests. */

import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineView } from '@ringfence/api';
import { RemoteVM } from '@ringfence/host/control';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { RealDaemon } from './testing/daemon.ts';

const KEEP_TIMEOUT_MS = 120_000;
/** Until a process waits for the next start. */
const WAIT_MS = 5000;

let daemon: RealDaemon;
let booted: string;
beforeAll(async () => {
  daemon = new RealDaemon();
  // Kept boots of its own, with the images that are there.
  const cache = join(daemon.folder, 'cache');
  const { RINGFENCE_CACHE: given, XDG_CACHE_HOME: home = join(homedir(), '.cache') } = process.env;
  mkdirSync(cache);
  symlinkSync(join(given ?? join(home, 'ringfence'), 'images'), join(cache, 'images'));
  daemon.env['RINGFENCE_CACHE'] = cache;
  booted = join(cache, 'booted');
  await daemon.start();
  await daemon.create('first', { network: 'user' });
  await daemon.client.run('vm.start', { vm: 'first' });
  await vi.waitUntil(() => kept().length > 0, { timeout: KEEP_TIMEOUT_MS, interval: 100 });
});
afterAll(() => daemon[Symbol.asyncDispose]());

const kept = (): string[] => {
  try {
    return readdirSync(booted).filter((name) => !name.startsWith('.'));
  } catch {
    return [];
  }
};

async function start(vm: string, more: { readonly snapshot?: boolean } = {}): Promise<MachineView['start']> {
  await daemon.client.run('vm.start', { vm, ...more });
  return (await daemon.machine(vm)).start;
}

async function started(name: string, more: Parameters<RealDaemon['create']>[1] = {}): Promise<MachineView['start']> {
  await daemon.create(name, { network: 'user', ...more });
  return start(name);
}

const GOES_ON = { from: 'kept-boot' };

/** What tells a guest from others. */
async function identity(vm: string): Promise<string[]> {
  const script =
    'hostname; cat /sys/class/net/eth0/address; head -c 16 /dev/urandom | sha256sum; cat /proc/sys/kernel/random/uuid';
  return (await daemon.exec(vm, 'sh', '-c', script)).split('\n');
}

test('the first machine boots and says so, and others like it go on from a boot that was kept, each as itself', async () => {
  expect((await daemon.machine('first')).start).toEqual({
    from: 'boot',
    reason: 'none of a machine like it is kept yet',
  });
  // One in a process of its own, others in processes that waited.
  expect(await started('one')).toEqual(GOES_ON);
  await sleep(WAIT_MS);
  expect(await started('two', { env: { GREETING: 'hello' } })).toEqual(GOES_ON);
  expect(await daemon.exec('two', 'sh', '-c', 'echo $GREETING')).toBe('hello');
  const all = await Promise.all(['first', 'one', 'two'].map(identity));
  expect(all.map(([name]) => name)).toEqual(['first', 'one', 'two']);
  const cards = await Promise.all(['first', 'one', 'two'].map((vm) => daemon.machine(vm)));
  expect(all.map(([, mac]) => mac)).toEqual(cards.map(({ networks }) => networks[0]?.mac.toLowerCase()));
  for (const place of [2, 3]) expect(new Set(all.map((each) => each[place])).size).toBe(3);
  const nowS = Number(await daemon.exec('two', 'date', '+%s'));
  expect(Math.abs(nowS - Date.now() / 1000)).toBeLessThan(5);
  const { stdout } = await daemon.ringfence('inspect', 'two');
  expect(stdout.toString()).toMatch(/^began by:\s+going on from a kept boot$/m);
});

test('a machine in a process that waited has its ports, its console and its folder, and nothing else of this computer', async () => {
  await sleep(WAIT_MS);
  const port = 20_000 + (process.pid % 20_000);
  expect(await started('ports', { publish: [`${port}:80`] })).toEqual(GOES_ON);
  await daemon.exec(
    'ports',
    'sh',
    '-c',
    'mkdir /www; echo served >/www/index.html; httpd -h /www; echo said >/dev/ttyS0',
  );
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('served\n');
  const { pid = 0, folder } = await daemon.machine('ports');
  await expect.poll(() => readFileSync(join(folder, 'run/console.log'), 'utf8')).toContain('said');
  expect(statSync(join(folder, 'run/process.log')).isFile()).toBe(true);
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  expect(words).toContain('--permission');
  const places = join(daemon.folder, 'state/ringfence/host/places');
  expect(words.filter((word) => word.startsWith('--allow-fs-write=')).every((word) => word.includes(places))).toBe(
    true,
  );
  await daemon.client.run('snapshot.create', { vm: 'ports', name: 'point' });
  await daemon.exec('ports', 'sh', '-c', 'echo later >/state');
  const { made } = await daemon.client.run('vm.fork', { vm: 'ports' });
  expect(await daemon.exec(made?.[0] ?? '', 'cat', '/state')).toBe('later');
  await daemon.client.run('snapshot.restore', { vm: 'ports', snapshot: 'point' });
  expect(await daemon.exec('ports', 'sh', '-c', 'cat /www/index.html; ls /state 2>&1 | wc -l')).toBe('served\n1');
  expect((await daemon.machine('ports')).start).toBeUndefined();
  await daemon.client.run('vm.stop', { vm: 'ports' });
  expect((await daemon.client.ask('snapshot.list', { vm: 'ports' })).map(({ name }) => name)).toEqual(['point']);
});

test('one that was stopped and is started again goes on from the kept boot, and has nothing of its last run', async () => {
  await daemon.exec('one', 'sh', '-c', 'echo mine >/state');
  await daemon.client.run('vm.stop', { vm: 'one' });
  expect((await daemon.machine('one')).end?.kind).toBe('stopped');
  expect(await start('one')).toEqual(GOES_ON);
  expect(await daemon.exec('one', 'sh', '-c', 'ls /state 2>/dev/null | wc -l')).toBe('0');
});

test('one of another size of memory boots, one that is asked to, and one with a disk', async () => {
  expect(await started('larger', { memory: '160M' })).toMatchObject({ from: 'boot' });
  await daemon.client.run('vm.stop', { vm: 'two', timeoutMs: 0 });
  const { code, stdout } = await daemon.ringfence('start', '--no-snapshot', 'two', '--json');
  expect([code, JSON.parse(stdout.toString())]).toMatchObject([0, { state: 'done' }]);
  expect((await daemon.machine('two')).start).toEqual({ from: 'boot', reason: 'it was asked to' });
  expect(await started('disk', { disks: [{ size: '16M' }] })).toEqual({
    from: 'boot',
    reason: 'it has a disk of its own',
  });
  await Promise.all(['larger', 'disk'].map((vm) => daemon.client.run('vm.stop', { vm, timeoutMs: 0 })));
  await expect.poll(kept, { timeout: KEEP_TIMEOUT_MS }).toHaveLength(2);
});

test('a daemon and a machine that are killed in the middle of a start leave one that is stopped or runs, and can be started', async () => {
  await daemon.create('killed', { network: 'user' });
  for (const afterMs of [0, 3, 8, 15, 30, 60, 120]) {
    const starting = daemon.client.run('vm.start', { vm: 'killed' });
    starting.catch(() => undefined);
    await sleep(afterMs);
    await daemon.kill();
    await daemon.start();
    await expect
      .poll(async () => (await daemon.machine('killed')).state, { timeout: 30_000 })
      .toMatch(/^(?:stopped|running)$/);
    const { state, pid } = await daemon.machine('killed');
    if (state === 'stopped') await daemon.client.run('vm.start', { vm: 'killed' });
    expect(await daemon.exec('killed', 'hostname')).toBe('killed');
    if (state === 'running' && pid !== undefined) process.kill(pid, 'SIGKILL');
    else await daemon.client.run('vm.stop', { vm: 'killed', timeoutMs: 0 });
    await expect.poll(async () => (await daemon.machine('killed')).state, { timeout: 30_000 }).toBe('stopped');
  }
  expect(await start('killed')).toEqual(GOES_ON);
  const names = await RemoteVM.list(join(daemon.folder, 'run/ringfence'));
  expect(names.filter(({ name }) => name === 'killed')).toHaveLength(1);
  // What leads to folders of machines that do not run any more is gone.
  const running = (await daemon.client.ask('vm.list', {})).filter(({ pid }) => pid !== undefined).length;
  expect(readdirSync(join(daemon.folder, 'state/ringfence/host/places')).length).toBeLessThanOrEqual(running);
});

test('a kept boot that is broken is removed, and the machine boots', async () => {
  await daemon.kill();
  const all = kept();
  for (const name of all) {
    truncateSync(join(booted, name, 'pages'), 4096);
    writeFileSync(join(booted, name, 'hot'), 'nothing');
    writeFileSync(join(booted, name, 'index'), 'nothing');
  }
  await daemon.start();
  await daemon.client.run('vm.stop', { vm: 'one', timeoutMs: 0 });
  expect(await start('one')).toEqual({ from: 'boot', reason: 'what was kept of one like it cannot be used' });
  expect(await daemon.exec('one', 'hostname')).toBe('one');
  await expect.poll(() => kept().length, { timeout: 30_000 }).toBeLessThan(all.length);
  // The next one is kept again.
  await daemon.client.run('vm.stop', { vm: 'one', timeoutMs: 0 });
  expect(await start('one')).toMatchObject({ from: 'boot' });
  await expect.poll(() => kept().length, { timeout: KEEP_TIMEOUT_MS }).toBe(all.length);
  await daemon.client.run('vm.stop', { vm: 'one', timeoutMs: 0 });
  expect(await start('one')).toEqual(GOES_ON);
});
