/** Machines of a daemon that have more memory together than there is for them: what they share, give, and what is compressed and paged out. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { UsageView } from '@ringfence/api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RealDaemon } from './testing/daemon.ts';

const MiB = 2 ** 20;
const canMount = spawnSync('unshare', ['-m', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /mnt']).status === 0;
/** Noise that nothing can pack, and text; then all of it is read again, twice. */
const WORK = `
mkdir -p /data && mount -t tmpfs -o size=90% none /data && cd /data || exit 1
dd if=/dev/urandom of=noise bs=1M count=50 2>/dev/null && seq 1 4000000 | head -c 24000000 > text || { dmesg | tail -60; exit 1; }
first=$(cat noise text | sha256sum)
for round in 1 2; do [ "$(cat noise text | sha256sum)" = "$first" ] || exit 2; done; echo same`;

let daemon: RealDaemon;
beforeAll(async () => {
  daemon = new RealDaemon();
  await daemon.start('--memory', '192M');
});
afterAll(() => daemon[Symbol.asyncDispose]());

const usages = (): Promise<UsageView[]> => daemon.client.ask('vm.usage', {});
const poolOf = async (name: string): Promise<NonNullable<NonNullable<UsageView['memory']>['pool']>> => {
  const pool = (await usages()).find((each) => each.name === name)?.memory?.pool;
  if (pool === undefined) throw new Error(`${name} has no pool`);
  return pool;
};

test('use more than it has: all of them finish, no byte is another, and top shows what was done', async () => {
  const overcommit = { reservation: '32M' };
  for (const [name, shares] of [
    ['one', 1000],
    ['two', 2000],
  ] as const)
    await daemon.create(name, { memory: '224M', overcommit: { ...overcommit, shares } });
  await Promise.all(['one', 'two'].map((vm) => daemon.client.run('vm.start', { vm })));
  const work = Promise.all(['one', 'two'].map((name) => daemon.exec(name, 'sh', '-c', WORK)));
  let mostBytes = 0;
  let before = new Map<string, number>();
  const watching = setInterval(() => {
    const look = async (): Promise<void> => {
      const all = await usages();
      const now = new Map(all.map(({ name, memory }) => [name, memory?.pool?.bytes ?? 0]));
      // They are asked one after the other: between two answers one may have become smaller, and another larger by that.
      const both = [...now].reduce((sum, [name, bytes]) => sum + Math.min(bytes, before.get(name) ?? 0), 0);
      mostBytes = Math.max(mostBytes, both);
      before = now;
    };
    void look().catch(() => undefined);
  }, 500);
  expect(await work).toEqual(['same', 'same']);
  clearInterval(watching);
  // Their pools together are never larger than what there is.
  expect(mostBytes).toBeLessThanOrEqual(192 * MiB);
  const [one, two] = [await poolOf('one'), await poolOf('two')];
  expect(one.pageOuts + two.pageOuts).toBeGreaterThan(1000);
  expect(one.packs + two.packs).toBeGreaterThan(1000);
  expect(one).toMatchObject({ shares: 1000, reservationBytes: 32 * MiB });
  const top = await daemon.ringfence('top');
  expect(top.stdout.toString()).toMatch(/^MEMORY +LABEL +OF +GUEST +MAY +ZERO +SHARED +SAVED +BALLOON +PACKED +PAGED/m);
  expect(top.stdout.toString()).toMatch(/^one +- +224 MiB .* 32 MiB +- +1000 /m);
  expect(top.stdout.toString()).toMatch(/^\(host\) +- +448 MiB .* 192 MiB /m);
  const json = JSON.parse((await daemon.ringfence('top', '--json')).stdout.toString()) as {
    readonly machines: UsageView[];
    readonly memory: Record<string, number>;
  };
  expect(json.memory).toMatchObject({ capacityBytes: 192 * MiB, configuredBytes: 448 * MiB });
  expect(json.memory['pagedBytes']).toBeGreaterThan(MiB);
  const metrics = await daemon.client.ask('host.metrics', {});
  expect(metrics).toMatch(/^ringfence_machine_pages_bytes\{name="one",kind="paged"\} [1-9]/m);
  expect(metrics).toMatch(/^ringfence_host_memory_bytes\{kind="capacity"\} 201326592$/m);
});

test('that reserve what is not there are refused with the figures, and those that run stay', async () => {
  await daemon.create('greedy', { memory: '160M', overcommit: { reservation: '128M' } });
  await expect(daemon.client.run('vm.start', { vm: 'greedy' })).rejects.toMatchObject({
    code: 'no-memory',
    message: expect.stringMatching(
      /"greedy" is to have 147.2 MiB of memory reserved, and of the 192 MiB that machines may have 73.6 MiB are reserved already/,
    ) as string,
  });
  // One without "overcommit" has all of its memory, or none.
  await daemon.create('whole', { memory: '160M' });
  await expect(daemon.client.run('vm.start', { vm: 'whole' })).rejects.toMatchObject({ code: 'no-memory' });
  await expect(daemon.create('huge', { memory: '256M' })).rejects.toThrow('machines may have 192 MiB together');
  await expect(daemon.create('tight', { overcommit: { limit: '8M' } })).rejects.toThrow(
    'overcommit.limit of 8 MiB is under what a guest needs, which is 16 MiB at least',
  );
  await expect(daemon.create('more', { overcommit: { reservation: '1G' } })).rejects.toThrow(
    'overcommit.reservation of 1 GiB is more than the machine can have, which is 128 MiB',
  );
  expect(await daemon.exec('one', 'echo', 'here')).toBe('here');
});

test('that are watched are told what they need, and what was seen is read back', async () => {
  const table = join(daemon.folder, 'record.csv');
  const spinning = daemon.exec('one', 'timeout', '9', 'sh', '-c', 'while :; do :; done');
  const watched = await daemon.ringfence(...'advise --live --every 1s --for 6s --json --record'.split(' '), table);
  await spinning;
  interface Told {
    readonly machines: { readonly name: string; readonly vcpus: number; readonly memoryBytes: number }[];
  }
  const told = JSON.parse(watched.stdout.toString()) as Told;
  const sizes = ({ machines }: Told) =>
    machines.map(({ name, vcpus, memoryBytes }) => [name, vcpus, memoryBytes / MiB]);
  // One that is busy all the time gets a second processor, the other one has enough; its guest says what it needs of its memory.
  expect(told.machines).toMatchObject([
    { name: 'one', vcpus: 2, notes: expect.arrayContaining(['has one processor and needs 2']) as unknown },
    { name: 'two', vcpus: 1 },
  ]);
  expect(told.machines[1]?.memoryBytes).toBeGreaterThanOrEqual(128 * MiB);
  expect(told.machines[1]?.memoryBytes).toBeLessThanOrEqual(224 * MiB);
  const again = await daemon.ringfence('advise', '--cpu-factor', '1', '--json', table);
  const read = JSON.parse(again.stdout.toString()) as Told;
  expect(sizes(read).map(([name, vcpus]) => [name, vcpus])).toEqual(sizes(told).map(([name, vcpus]) => [name, vcpus]));
  const nobody = await daemon.ringfence('advise', '--live', 'nobody');
  expect([nobody.code, nobody.stderr]).toEqual([1, 'ringfence: there is no virtual machine "nobody"\n']);
});

test('run on under another daemon, which gives them what the first one gave', async () => {
  await daemon.kill();
  await daemon.start('--memory', '192M');
  await expect.poll(async () => (await poolOf('two')).bytes, { timeout: 10_000 }).toBeGreaterThan(32 * MiB);
  expect(await daemon.exec('two', 'sh', '-c', 'cat /data/noise /data/text | wc -c')).toBe(
    String(50 * MiB + 24_000_000),
  );
});

test('go on from a snapshot that was taken while most of them was paged out, and fork', async () => {
  const sum = 'cat /data/noise /data/text | sha256sum';
  const before = await daemon.exec('two', 'sh', '-c', sum);
  await daemon.client.run('snapshot.create', { vm: 'two', name: 'full' });
  expect(await daemon.exec('two', 'sh', '-c', 'rm /data/noise; echo gone')).toBe('gone');
  await daemon.client.run('snapshot.restore', { vm: 'two', snapshot: 'full' });
  expect(await daemon.exec('two', 'sh', '-c', sum)).toBe(before);
  expect((await poolOf('two')).bytes).toBeLessThanOrEqual(192 * MiB);
  const { made: [fork = ''] = [] } = await daemon.client.run('vm.fork', { vm: 'two' });
  expect(await daemon.exec(fork, 'sh', '-c', sum)).toBe(before);
  await expect.poll(async () => (await poolOf('two')).machines).toBe(2);
  await daemon.client.run('vm.stop', { vm: 'two', timeoutMs: 0 });
});

test('move to another daemon that has less for them', async () => {
  await using other = new RealDaemon({ listens: true });
  await other.start('--memory', '96M');
  await daemon.trust(other);
  await other.trust(daemon);
  const sum = 'cat /data/noise /data/text | sha256sum';
  const before = await daemon.exec('one', 'sh', '-c', sum);
  await daemon.client.run('vm.migrate', { vm: 'one', target: other.listens });
  expect(await other.exec('one', 'sh', '-c', sum)).toBe(before);
  const [there] = await other.client.ask('vm.usage', {});
  expect(there?.memory?.pool).toMatchObject({ shares: 1000, reservationBytes: 32 * MiB, machines: 1 });
  expect(there?.memory?.pool?.bytes).toBeLessThanOrEqual(96 * MiB);
  expect((there?.memory?.pagedBytes ?? 0) + (there?.memory?.compressedBytes ?? 0)).toBeGreaterThan(4 * MiB);
  expect((await daemon.client.ask('vm.list', {})).map(({ name }) => name)).not.toContain('one');
});

test.skipIf(!canMount)(
  'whose paging file is on a full disk run on, and top says why they cannot page out',
  async () => {
    await daemon.create('full', { memory: '192M', overcommit: { limit: '96M' } });
    const folder = join(daemon.machinesFolder, 'full/memory');
    mkdirSync(folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1M', 'none', folder]);
    try {
      await daemon.client.run('vm.start', { vm: 'full' });
      const fill =
        'mount -t tmpfs -o size=90% none /mnt && dd if=/dev/urandom of=/mnt/noise bs=1M count=90 2>/dev/null && echo filled';
      const filling = daemon.exec('full', 'sh', '-c', fill);
      await expect
        .poll(async () => (await poolOf('full')).problem, { timeout: 60_000 })
        .toMatch(/the disk is full|no space/i);
      expect((await daemon.ringfence('top')).stdout.toString()).toMatch(/^"full" cannot page out: .*paging file/m);
      // There is room again: it goes on where it waited.
      execFileSync('mount', ['-o', 'remount,size=256M', folder]);
      expect(await filling).toBe('filled');
      await expect.poll(async () => (await poolOf('full')).problem, { timeout: 10_000 }).toBeUndefined();
      await daemon.client.run('vm.stop', { vm: 'full', timeoutMs: 0 });
    } finally {
      execFileSync('umount', ['-l', folder]);
    }
  },
);
