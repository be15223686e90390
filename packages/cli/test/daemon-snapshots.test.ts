/** Snapshots of the daemon's machines: two processors, a network and a disk that the guest writes to. */

import { execFileSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RealDaemon } from './testing/daemon.ts';

let daemon: RealDaemon;
beforeAll(async () => {
  daemon = new RealDaemon();
  await daemon.start();
  await daemon.create('web', { disks: [{ size: '16M' }], network: 'user', cpus: 2 });
  await daemon.client.run('vm.start', { vm: 'web' });
}, 120_000);
afterAll(() => daemon[Symbol.asyncDispose]());

const put = (vm: string, text: string): Promise<string> =>
  daemon.exec(vm, 'sh', '-c', `printf ${text} | dd of=/dev/vda conv=fsync 2>/dev/null; echo ${text} >/tmp/memory`);
const look = (vm: string): Promise<string> =>
  daemon.exec(vm, 'sh', '-c', 'cat /tmp/memory; dd if=/dev/vda bs=3 count=1 2>/dev/null');
const folderOf = (vm: string, ...names: string[]): string => join(daemon.machinesFolder, vm, ...names);
const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'nothing',
    (error: unknown) => (error as { code?: string }).code,
  );

test('a machine goes on from its snapshots, memory and disk alike, and they are files of its folder', async () => {
  await put('web', 'one');
  const taken = await daemon.ringfence('snapshot', 'web', 'first');
  expect([taken.code, taken.stdout.toString()]).toEqual([0, 'web\n']);
  await put('web', 'two');
  expect((await daemon.ringfence('snapshot', 'web', 'second', '--parent', 'first')).code).toBe(0);
  await put('web', 'six');
  expect(readdirSync(folderOf('web', 'snapshots')).filter((name) => !name.startsWith('.'))).toEqual([
    'first',
    'second',
  ]);
  for (const name of ['first', 'second'])
    execFileSync('qemu-img', ['check', folderOf('web', 'snapshots', name, 'disk0.qcow2')]);
  const listed = await daemon.client.ask('snapshot.list', { vm: 'web' });
  expect(listed).toMatchObject([
    { name: 'first', cpus: 2 },
    { name: 'second', parent: 'first' },
  ]);
  expect(listed[1]?.bytes).toBeLessThan((listed[0]?.bytes ?? 0) / 2);
  const { code } = await daemon.ringfence('restore', 'web', 'first');
  expect([code, await look('web')]).toEqual([0, 'one\none']);
  await daemon.client.run('snapshot.restore', { vm: 'web', snapshot: 'second' });
  expect(await look('web')).toBe('two\ntwo');
  expect(readdirSync(folderOf('web', 'disks')).filter((name) => name.endsWith('.qcow2'))).toHaveLength(1);
  // What it writes then is its own, and there after its next start.
  await put('web', 'new');
  await daemon.client.run('vm.stop', { vm: 'web' });
  await daemon.client.run('vm.start', { vm: 'web' });
  expect(await daemon.exec('web', 'sh', '-c', 'dd if=/dev/vda bs=3 count=1 2>/dev/null')).toBe('new');
}, 180_000);

test('another machine goes on from a snapshot, by itself: with its name, address and files', async () => {
  await put('web', 'old');
  const restored = await daemon.ringfence('restore', 'web', 'first', '--as', 'web2');
  expect([restored.code, restored.stdout.toString(), restored.stderr]).toEqual([0, 'web2\n', '']);
  expect(await look('web2')).toBe('one\none');
  const mac = async (vm: string): Promise<string> => (await daemon.machine(vm)).networks[0]?.mac ?? '';
  expect(await daemon.exec('web2', 'sh', '-c', 'uname -n; cat /sys/class/net/e*/address')).toBe(
    `web2\n${await mac('web2')}`,
  );
  expect(await mac('web')).not.toBe(await mac('web2'));
  await put('web2', 'own');
  expect(await look('web')).toBe('old\nold');
  // Its folder is all it needs, wherever that is.
  await daemon.client.run('vm.stop', { vm: 'web2' });
  cpSync(folderOf('web2'), join(daemon.folder, 'copy'), { recursive: true });
  await daemon.client.run('vm.remove', { vm: 'web2' });
  await daemon.client.run('vm.register', { folder: join(daemon.folder, 'copy'), name: 'web3' });
  await daemon.client.run('snapshot.restore', { vm: 'web3', snapshot: 'first' });
  expect(await look('web3')).toBe('one\none');
}, 180_000);

test('what cannot be is refused with its code, and changes nothing', async () => {
  const { client } = daemon;
  const vm = 'web';
  expect(await failure(client.run('snapshot.create', { vm, name: 'first' }))).toBe('name-taken');
  expect(await failure(client.run('snapshot.create', { vm, name: 'x', parent: 'nobody' }))).toBe('not-found');
  expect(await failure(client.run('snapshot.restore', { vm, snapshot: 'nobody' }))).toBe('not-found');
  expect(await failure(client.run('snapshot.restore', { vm, snapshot: 'first', as: 'web' }))).toBe('name-taken');
  expect(await failure(client.run('snapshot.remove', { vm, snapshot: 'first' }))).toBe('in-use');
  // The disk of the machine stands on it.
  expect(await failure(client.run('snapshot.remove', { vm, snapshot: 'second' }))).toBe('in-use');
  for (const file of ['pages', 'disk0.qcow2', 'manifest.json']) {
    const path = folderOf('web', 'snapshots/second', file);
    const sound = readFileSync(path);
    const at = Math.floor(sound.length / 2);
    // Files of snapshots may have other names, too: these bytes are this one's alone.
    execFileSync('sh', ['-c', 'cp "$1" "$1.own" && mv "$1.own" "$1"', 'sh', path]);
    writeFileSync(path, sound.with(at, (sound[at] ?? 0) ^ 1));
    expect(await failure(client.run('snapshot.restore', { vm, snapshot: 'second' })), file).toBe('broken');
    expect(await failure(client.run('snapshot.restore', { vm, snapshot: 'second', as: 'never' })), file).toBe('broken');
    writeFileSync(path, sound);
  }
  expect(await look('web')).toBe('old\nold');
  expect((await client.ask('vm.list', {})).map(({ name, state }) => `${name} ${state}`)).toEqual([
    'web running',
    'web3 running',
  ]);
  await client.run('vm.stop', { vm });
  expect(await failure(client.run('snapshot.create', { vm, name: 'x' }))).toBe('wrong-state');
  expect(readdirSync(daemon.machinesFolder)).toEqual(['web']);
  expect(daemon.damagedDisks()).toEqual([]);
  expect(readdirSync(folderOf('web', 'snapshots')).filter((name) => !name.startsWith('.'))).toEqual([
    'first',
    'second',
  ]);
}, 120_000);
