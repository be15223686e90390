/** Forks of a booted machine: each goes on from its memory, as somebody else, and none meets another's memory, disks or names. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { HostError, VM } from '../src/index.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

let folder = '';
let vm: VM;
const runtime = process.env['XDG_RUNTIME_DIR'];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-fork-'));
  process.env['XDG_RUNTIME_DIR'] = folder;
  mkdirSync(join(folder, 'shared'));
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), 4 << 20);
  vm = await VM.start({
    name: 'parent',
    memory: '256M',
    cpus: 2,
    forkable: true,
    network: 'forks',
    disks: [`${join(folder, 'disk.img')},snapshot`],
    shares: [`${join(folder, 'shared')}:/shared`],
  });
  await vm.exec(['sh', '-c', 'echo from the parent >/tmp/note; echo before | dd of=/dev/vda conv=notrunc 2>/dev/null']);
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

  test('have the disk as it was, and write to it for themselves', async () => {
    const read = 'dd if=/dev/vda bs=16 count=1 iflag=direct 2>/dev/null | head -n 1';
    const write = (text: string): string =>
      `echo ${text} | dd of=/dev/vda conv=notrunc 2>/dev/null; sync; echo 3 >/proc/sys/vm/drop_caches`;
    const [first, second] = forks;
    if (!first || !second) throw new Error('forks');
    expect(await sh(first, read.replace(' iflag=direct', ''))).toBe('before');
    await sh(first, write('of one'));
    await sh(vm, write('of the parent'));
    await sh(second, 'echo 3 >/proc/sys/vm/drop_caches');
    const plain = read.replace(' iflag=direct', '');
    expect([await sh(first, plain), await sh(second, plain), await sh(vm, plain)]).toEqual([
      'of one',
      'before',
      'of the parent',
    ]);
    expect(readFileSync(join(folder, 'disk.img')).every((byte) => byte === 0)).toBe(true);
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
