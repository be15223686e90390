/** What machines of the daemon go on from when they are started; nobody boots here. */

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MachineView } from '@ringfence/api';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SnapshotStore } from '../snapshot/snapshot-store.ts';
import { smallMachine } from '../snapshot/testing/small-machine.ts';
import type { KeptBootKey } from '../vm/kept-boot.ts';
import type { keepBoot } from '../vm-process/keeper.ts';
import type { SpareWish } from '../vm-process/spare.ts';
import { Boots } from './boots.ts';
import { PretendDaemon } from './testing/pretend.ts';

let folder: string;
let daemon: PretendDaemon;
let boots: Boots;
/** What was to be kept. */
let asked: KeptBootKey[];
let failing: Error | undefined;
let holding: Promise<void> | undefined;
/** What waits, by its key. */
let waiting: SpareWish | undefined;
let freeBytes: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-boots-'));
  [asked, failing, holding, waiting, freeBytes] = [[], undefined, undefined, undefined, 2 ** 40];
  boots = new Boots({
    folder,
    keep,
    freeBytes: () => freeBytes,
    spares: {
      begin: (wish) => void (waiting = wish),
      take: () => undefined,
      end: () => void (waiting = undefined),
    },
    onFailure: (error) => void daemon.failures.push(error),
  });
  daemon = await PretendDaemon.begin({ boots });
});
afterEach(async () => {
  boots.close();
  await daemon.end();
  rmSync(folder, { recursive: true });
});

/** Writes something, as a process that boots would. */
const keep: typeof keepBoot = async ({ kept: { key } }, _folder, finish) => {
  asked.push(key);
  await holding;
  holding = undefined;
  if (failing !== undefined) throw failing;
  const small = await smallMachine(4);
  const about = { shape: key.shape };
  const { written } = await new SnapshotStore(folder).write(key.name, { ...small.request(), about });
  await finish((await written).path);
};

async function started(name: string, mayGoOn?: boolean): Promise<MachineView['start']> {
  await daemon.done(daemon.machines.start(name, mayGoOn));
  return (await daemon.machines.inspect(name)).start;
}

async function made(name: string, more: Parameters<PretendDaemon['machines']['create']>[0] = {}): Promise<string> {
  await daemon.done(await daemon.machines.create({ name, network: 'none', ...more }));
  return name;
}

const GOES_ON = { from: 'kept-boot' };
const FIRST = { from: 'boot', reason: 'none of a machine like it is kept yet' };

test('the first machine of a make boots, and later ones go on from what was kept of another that booted alike', async () => {
  expect(await started(await made('one'))).toEqual(FIRST);
  await expect.poll(() => waiting).toBeDefined();
  expect(await started(await made('two', { env: { MINE: 'yes' } }))).toEqual(GOES_ON);
  // Also one that was stopped in the ordinary way.
  await daemon.done(daemon.machines.stop('one'));
  expect(await started('one')).toEqual(GOES_ON);
  expect(asked).toHaveLength(1);
  const [event] = (await daemon.store.eventsAfter(0, 100)).filter(
    ({ kind, vm }) => kind === 'vm.started' && vm.name === 'two',
  );
  expect(event?.detail).toEqual(GOES_ON);
});

test.each([
  ['memory', { memory: '96M' }],
  ['processors', { cpus: 2 }],
  ['network', { network: 'user' as const }],
])('one of other %s boots, and is kept by itself', async (_what, more) => {
  await started(await made('one'));
  await expect.poll(() => waiting).toBeDefined();
  expect(await started(await made('other', more))).toEqual(FIRST);
  await expect.poll(() => asked).toHaveLength(2);
  expect(new Set(asked.map(({ name }) => name)).size).toBe(2);
});

test('one whose image has other bytes boots', async () => {
  await started(await made('one'));
  await expect.poll(() => waiting).toBeDefined();
  await made('other');
  const { folder: path } = await daemon.machines.inspect('other');
  rmSync(join(path, 'image/kernel'));
  writeFileSync(join(path, 'image/kernel'), 'another kernel');
  expect(await started('other')).toEqual(FIRST);
});

test.each([
  ['it has a disk of its own', { disks: [{ size: '1M' }] }],
  ['its kernel gets words of its own', { kernelArguments: ['debug'] }],
  ['it shares its process with others', { label: 'shop' }],
  ['it may be given less memory than it has', { overcommit: {} }],
])('one boots because %s, and nothing is kept of it', async (reason, more) => {
  expect(await started(await made('own', more))).toEqual({ from: 'boot', reason });
  expect(asked).toEqual([]);
});

test('one boots that is asked to, that is reset, or whose guest restarts it', async () => {
  await started(await made('one'));
  await expect.poll(() => waiting).toBeDefined();
  expect(await started(await made('two'), false)).toEqual({ from: 'boot', reason: 'it was asked to' });
  await daemon.done(daemon.machines.reset('two'));
  expect((await daemon.machines.inspect('two')).start).toEqual({ from: 'boot', reason: 'it is reset' });
  daemon.runOf('two').end({ kind: 'reboot' });
  await expect
    .poll(async () => (await daemon.machines.inspect('two')).start)
    .toEqual({ from: 'boot', reason: 'its guest has restarted it' });
});

test('what cannot be gone on from is removed when it is broken, and left where it is sound', async () => {
  await started(await made('one'));
  await expect.poll(() => waiting).toBeDefined();
  const [key] = asked;
  daemon.processes.cannotGoOn = true;
  expect(await started(await made('two'))).toMatchObject({ from: 'boot', reason: /cannot be used/ });
  await daemon.operations.settled(1000);
  expect(readdirSync(folder)).toContain(key?.name);
  writeFileSync(join(folder, key?.name ?? '', 'pages'), 'other pages');
  await started(await made('three'));
  await expect.poll(() => readdirSync(folder)).not.toContain(key?.name);
  // Who waits has the same memory.
  await expect.poll(() => waiting).toBeUndefined();
  daemon.processes.cannotGoOn = false;
  expect(await started(await made('four'))).toEqual(FIRST);
});

test('a machine that fails later has what it went on from looked at', async () => {
  await started(await made('one'));
  await expect.poll(() => waiting).toBeDefined();
  await started(await made('two'));
  const [key] = asked;
  writeFileSync(join(folder, key?.name ?? '', 'pages'), 'other pages');
  daemon.runOf('two').end({ kind: 'failure', detail: 'a page is another one' });
  await expect.poll(() => readdirSync(folder)).not.toContain(key?.name);
});

test('where no boot can be kept that is told, machines boot, and it is not tried with each of them', async () => {
  failing = new Error('no boot');
  await started(await made('one'));
  await expect.poll(() => daemon.failures).toEqual([failing]);
  expect(await started(await made('two'))).toEqual(FIRST);
  expect(asked).toHaveLength(1);
  daemon.failures.splice(0);
});

test('where the machine is removed whose image was to be booted, the next one like it is kept', async () => {
  failing = new Error('no image');
  const removed = Promise.withResolvers<void>();
  holding = removed.promise;
  await started(await made('one'));
  await daemon.done(daemon.machines.stop('one'));
  await daemon.done(daemon.machines.remove('one'));
  removed.resolve();
  await expect.poll(() => holding).toBeUndefined();
  failing = undefined;
  await started(await made('two'));
  await expect.poll(() => waiting).toBeDefined();
  expect([asked.length, daemon.failures]).toEqual([2, []]);
});

test('a process waits for the next machine when one of its make was made or started, unless the computer has no memory left', async () => {
  await started(await made('one'));
  await expect.poll(() => waiting?.readable).toEqual([join(folder, asked[0]?.name ?? '')]);
  waiting = undefined;
  await made('two');
  await expect.poll(() => waiting).toBeDefined();
  // One that waits already has what is missing.
  freeBytes = 1024;
  await started('two');
  expect(waiting).toBeUndefined();
});

test('how a machine began is known to the next daemon', async () => {
  await started(await made('one'));
  await daemon.again();
  expect((await daemon.machines.inspect('one')).start).toEqual(FIRST);
});
