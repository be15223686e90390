/** Forks of a booted machine: each goes on from its memory, as somebody else, and none meets another's memory, disks or names. */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { HostError, VM } from '../src/index.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** Of these disks each machine writes for itself: one is temporary, one raw, one qcow2. */
const WRITTEN = ['/dev/vda', '/dev/vdb', '/dev/vdc'];
let folder = '';
let vm: VM;
const runtime = process.env['XDG_RUNTIME_DIR'];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-fork-'));
  process.env['XDG_RUNTIME_DIR'] = folder;
  mkdirSync(join(folder, 'shared'));
  for (const name of ['disk.img', 'own.img', 'read.img']) {
    writeFileSync(join(folder, name), name.padEnd(512));
    truncateSync(join(folder, name), 4 << 20);
  }
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, 'own.qcow2'), '4M']);
  vm = await VM.start({
    name: 'parent',
    memory: '256M',
    cpus: 2,
    forkable: true,
    network: 'forks',
    disks: ['disk.img,snapshot', 'own.img,format=raw', 'own.qcow2', 'read.img,readonly'].map((disk) =>
      join(folder, disk),
    ),
    shares: [`${join(folder, 'shared')}:/shared`],
  });
  await vm.exec([
    'sh',
    '-c',
    `echo from the parent >/tmp/note; for disk in ${WRITTEN.join(' ')}; do echo before | dd of=$disk conv=notrunc 2>/dev/null; done`,
  ]);
});
afterAll(async () => {
  await vm.kill();
  if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = runtime;
  rmSync(folder, { recursive: true });
});

async function sh(machine: VM, script: string): Promise<string> {
  const { stdout, stderr, code } = await machine.exec(['sh', '-c', script]);
  if (code !== 0) throw new Error(`"${script}" in ${machine.name}: ${stderr}`);
  return stdout.trim();
}

describe('forks', () => {
  let forks: VM[] = [];
  beforeAll(async () => {
    forks = await vm.fork({ count: 3, names: ['one', 'two'] });
    await Promise.all(forks.map((fork) => fork.ready()));
  });
  afterAll(() => Promise.all(forks.map((fork) => fork.kill())));

  test('go on from what their parent has in memory, and write without it and each other', async () => {
    for (const [index, fork] of forks.entries()) {
      expect(await sh(fork, 'cat /tmp/note')).toBe('from the parent');
      await sh(fork, `echo of ${index} >/tmp/note`);
    }
    expect(await Promise.all(forks.map((fork) => sh(fork, 'cat /tmp/note')))).toEqual(['of 0', 'of 1', 'of 2']);
    expect(await sh(vm, 'cat /tmp/note')).toBe('from the parent');
  });

  test('have names, host names, chance and time of their own', async () => {
    const all = [vm, ...forks];
    expect(all.slice(0, 3).map(({ name }) => name)).toEqual(['parent', 'one', 'two']);
    expect(await Promise.all(all.map((machine) => sh(machine, 'hostname')))).toEqual(all.map(({ name }) => name));
    const drawn = await Promise.all(all.map((machine) => sh(machine, 'cat /proc/sys/kernel/random/uuid')));
    expect(new Set(drawn).size).toBe(all.length);
    for (const machine of all)
      expect(Math.abs(Number(await sh(machine, 'date +%s')) - Date.now() / 1000), machine.name).toBeLessThan(3);
  });

  test('are on the network each with an address and a card of its own', async () => {
    const all = [vm, ...forks];
    const cards = await Promise.all(all.map((machine) => sh(machine, 'cat /sys/class/net/eth0/address')));
    expect(new Set(cards).size).toBe(all.length);
    const one = `ifconfig eth0 | sed -n 's/.*inet addr:\\([0-9.]*\\).*/\\1/p'`;
    const addresses = await Promise.all(all.map((machine) => sh(machine, one)));
    expect(new Set(addresses).size).toBe(all.length);
    const [, first, second] = all;
    if (first && second) expect(await sh(first, `ping -c 1 -W 5 ${addresses[2]}`)).toContain('1 packets received');
  });

  test('have the disks as they were, and write to them for themselves, as do forks of theirs', async () => {
    const read = (machine: VM): Promise<string> =>
      sh(machine, `for disk in ${WRITTEN.join(' ')}; do dd if=$disk bs=32 count=1 2>/dev/null | head -n 1; done`);
    const write = (machine: VM, text: string): Promise<string> =>
      sh(
        machine,
        `for disk in ${WRITTEN.join(' ')}; do echo ${text} | dd of=$disk conv=notrunc 2>/dev/null; done; sync; echo 3 >/proc/sys/vm/drop_caches`,
      );
    const of = (text: string): string => `${text}\n${text}\n${text}`;
    const [first, second, third] = forks;
    if (!first || !second || !third) throw new Error('forks');
    expect(await read(first)).toBe(of('before'));
    await write(first, 'of one');
    const [grandchild] = await first.fork();
    if (!grandchild) throw new Error('a fork of the fork');
    await write(vm, 'of the parent');
    await write(second, 'of two');
    for (const machine of [third, grandchild]) await sh(machine, 'echo 3 >/proc/sys/vm/drop_caches');
    const all = [vm, first, second, third, grandchild];
    expect(await Promise.all(all.map((machine) => read(machine)))).toEqual(
      ['of the parent', 'of one', 'of two', 'before', 'of one'].map(of),
    );
    await write(grandchild, 'of the last');
    expect(await read(first)).toBe(of('of one'));
    for (const machine of all) expect(await sh(machine, 'head -c 8 /dev/vdd')).toBe('read.img');
    await grandchild.kill();
    expect(readFileSync(join(folder, 'disk.img'), 'latin1').slice(0, 8)).toBe('disk.img');
    expect(readFileSync(join(folder, 'own.img'), 'latin1').slice(0, 14)).toBe('of the parent\n');
  });

  test('have the folders that their parent has', async () => {
    for (const fork of forks) await sh(fork, `hostname >/shared/${fork.name}`);
    for (const { name } of forks) expect(readFileSync(join(folder, 'shared', name), 'utf8')).toBe(`${name}\n`);
  });

  test('can be forked, and end each for itself', async () => {
    const [first] = forks;
    if (!first) throw new Error('a fork');
    await sh(first, 'echo grand >/tmp/note');
    const [grandchild] = await first.fork();
    if (!grandchild) throw new Error('a fork of the fork');
    expect(await first.stop()).toBe('shutdown');
    expect(await sh(grandchild, 'cat /tmp/note')).toBe('grand');
    expect(await grandchild.stop()).toBe('shutdown');
    expect(await sh(vm, 'cat /tmp/note')).toBe('from the parent');
  });
});

test('forks of a machine with a network of its own have cards of their own, and reach the host', async () => {
  const parent = await VM.start({ memory: '128M', network: 'user', mac: '52:54:00:aa:bb:cc', reachable: false });
  const forks = await parent.fork({ count: 2 });
  const [first] = forks;
  if (!first) throw new Error('a fork');
  await first.ready();
  forks.push(...(await first.fork()));
  const card = (machine: VM): Promise<string> => sh(machine, 'cat /sys/class/net/eth0/address');
  expect(await card(parent)).toBe('52:54:00:aa:bb:cc');
  const cards = await Promise.all([parent, ...forks].map(card));
  expect(new Set(cards).size).toBe(4);
  // Of one card, and locally administered (IEEE 802, clause 8.4).
  for (const address of cards) expect(Number.parseInt(address.slice(0, 2), 16) & 3, address).toBe(2);
  const server = createServer((socket) => socket.end('from the host')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  for (const fork of forks) expect(await sh(fork, `nc 10.0.2.2 ${port} </dev/null`)).toBe('from the host');
  server.close();
  await Promise.all([parent, ...forks].map((each) => each.kill()));
});

test('forks of a machine that has ended have its disks still, and its own are whole', async () => {
  const own = join(folder, 'ended.qcow2');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', own, '4M']);
  const parent = await VM.start({ memory: '128M', disks: [own], reachable: false });
  await sh(parent, 'echo kept | dd of=/dev/vda conv=fsync 2>/dev/null');
  const [fork] = await parent.fork();
  await sh(parent, 'echo last | dd of=/dev/vda conv=fsync 2>/dev/null');
  await parent.stop();
  if (!fork) throw new Error('a fork');
  await expect(VM.start({ memory: '128M', disks: [own], reachable: false })).rejects.toThrow(
    'is in use by another virtual machine',
  );
  expect(await sh(fork, 'echo 3 >/proc/sys/vm/drop_caches; head -n 1 /dev/vda')).toBe('kept');
  await fork.kill();
  execFileSync('qemu-img', ['check', '-q', own]);
  execFileSync('qemu-img', ['convert', '-O', 'raw', own, `${own}.raw`]);
  expect(readFileSync(`${own}.raw`, 'latin1').slice(0, 5)).toBe('last\n');
});

describe('what cannot be forked is said', () => {
  const failing = async (promise: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> => {
    const error = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof HostError)) throw new Error('no HostError', { cause: error });
    return { code: error.code, message: error.message };
  };

  test('numbers and names that make no sense, and a name that is taken', async () => {
    expect(await failing(vm.fork({ count: 0 }))).toEqual({
      code: 'bad-argument',
      message: '"0" is no number of forks; there can be 1 to 1024 at once',
    });
    expect(await failing(vm.fork({ count: 1, names: ['a', 'b'] }))).toMatchObject({ code: 'bad-argument' });
    expect(await failing(vm.fork({ names: ['new', 'parent'] }))).toMatchObject({ code: 'name-taken' });
    expect(await failing(vm.fork({ names: ['same', 'other', 'same'] }))).toEqual({
      code: 'bad-argument',
      message: 'two forks cannot be called "same"',
    });
    // Nothing is left of it.
    const [again] = await vm.fork({ names: ['new'] });
    await again?.kill();
  });

  test('more forks than their network has addresses for, and nothing is left of them', async () => {
    expect(await failing(vm.fork({ count: 1024 }))).toEqual({
      code: 'too-many',
      message: 'the network "forks" has no address left for another machine',
    });
    expect(await sh(vm, 'echo here')).toBe('here');
    const [again] = await vm.fork();
    expect(await again?.exec(['true'])).toMatchObject({ code: 0 });
    await again?.kill();
  }, 60_000);
});
