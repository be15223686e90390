/** Disks of machines that go on from a snapshot, and what stays of them whatever is broken off. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SnapshotManifest } from '@ringfence/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SnapshotStore } from '../snapshot/snapshot-store.ts';
import { smallMachine } from '../snapshot/testing/small-machine.ts';
import { parseDiskSpec } from '../disk/disk-spec.ts';
import { openDisks } from '../disk/disks.ts';
import { CONFIG_VERSION, type MachineConfig } from './config.ts';
import { machineFolder, type MachineFolder } from './layout.ts';
import { readMachine } from './machine-files.ts';
import { newDisk } from './new-disk.ts';
import { removeLeftDisks, type RestoredDisks, restoredDisks } from './restored-disks.ts';
import { vmYamlOf } from './vm-yaml.ts';

const CONFIG: MachineConfig = {
  version: CONFIG_VERSION,
  id: '01234567-89ab-4cde-8f01-23456789abcd',
  name: 'vm',
  image: 'tiny',
  suite: 'stable',
  cpus: 1,
  memory: '64M',
  disks: [{ file: 'disks/system.qcow2' }],
};

let folder: MachineFolder;
let manifest: SnapshotManifest;
beforeEach(async () => {
  folder = machineFolder(mkdtempSync(join(tmpdir(), 'ringfence-restored-')));
  for (const each of [folder.disks, folder.run, folder.snapshots]) mkdirSync(each);
  await newDisk(join(folder.disks, 'system.qcow2'), { size: '1M' });
  writeFileSync(folder.yaml, vmYamlOf(CONFIG));
  const disks = await openDisks([parseDiskSpec(join(folder.disks, 'system.qcow2'))]);
  const { request } = await smallMachine(2);
  const about = { network: 'none' };
  ({ manifest } = await new SnapshotStore(folder.snapshots).take('one', { ...request(), about, disks: disks.disks }));
  await disks.close();
});
afterEach(() => rmSync(folder.path, { recursive: true }));

const restored = async (): Promise<RestoredDisks> =>
  restoredDisks(folder, await readMachine(folder), 'one', manifest, { mayLeadOutside: false });
const images = (): string[] => readdirSync(folder.disks).filter((name) => name.endsWith('.qcow2'));
const ofMachine = async (): Promise<string[]> =>
  ((await readMachine(folder)).disks ?? []).map(({ file }) => file.replace('disks/', ''));
const note = (): string => join(folder.run, 'restoring.json');

test.each([
  ['processors', { harts: 99, memoryBytes: 64 * 2 ** 20 }],
  ['memory', { harts: 1, memoryBytes: 1024 }],
])('are not made of a snapshot whose manifest has %s that cannot be', async (_what, machine) => {
  manifest = { ...manifest, machine };
  await expect(restored()).rejects.toMatchObject({ name: 'SnapshotError', code: 'broken' });
  expect(images()).toEqual(['system.qcow2']);
});

test('are not made of an image that stands on one outside of the folder, which is not even opened', async () => {
  const outside = join(`${folder.path}-outside`);
  mkdirSync(outside);
  try {
    const [disk] = manifest.disks;
    const image = join(folder.snapshots, 'one', disk?.file ?? '');
    rmSync(image);
    writeFileSync(join(outside, 'secret'), Buffer.alloc(2 ** 20, 1));
    await newDisk(image, { backing: join(outside, 'secret') });
    for (const lock of readdirSync(outside).filter((name) => name !== 'secret')) rmSync(join(outside, lock));
    await expect(restored()).rejects.toMatchObject({ code: 'forbidden' });
    expect(readdirSync(outside)).toEqual(['secret']);
    expect(images()).toEqual(['system.qcow2']);
  } finally {
    rmSync(outside, { recursive: true });
  }
});

test('are what vm.yaml says when the start fails while they are being made the machine’s', async () => {
  for (let round = 0; round < 2; round++) {
    const disks = await restored();
    const committed = disks.commit();
    await disks.settle();
    await committed;
    expect(images()).toEqual(await ofMachine());
    expect(images()).toEqual([expect.stringMatching(/^system~[0-9a-f]{8}\.qcow2$/)]);
    expect(existsSync(note())).toBe(false);
  }
});

test('are those from before when vm.yaml cannot be changed', async () => {
  const disks = await restored();
  mkdirSync(`${folder.yaml}.new`);
  await expect(disks.commit()).rejects.toThrow('vm.yaml');
  await disks.settle();
  expect([images(), await ofMachine(), existsSync(note())]).toEqual([['system.qcow2'], ['system.qcow2'], false]);
});

test('are all kept when nobody can say which are the machine’s', async () => {
  const disks = await restored();
  await disks.commit();
  writeFileSync(folder.yaml, 'nothing');
  await disks.settle();
  expect(images()).toHaveLength(2);
});

test('of a daemon that was killed are cleared up by what vm.yaml says, those from before too, and told of once', async () => {
  await restored();
  expect(images()).toHaveLength(2);
  expect(await removeLeftDisks(folder, await readMachine(folder))).toBeUndefined();
  expect(images()).toEqual(['system.qcow2']);

  await (await restored()).commit();
  expect(images()).toHaveLength(2);
  expect(await removeLeftDisks(folder, await readMachine(folder))).toBe('one');
  expect(images()).toEqual(await ofMachine());
  expect(await removeLeftDisks(folder, await readMachine(folder))).toBeUndefined();
});

test('of a later restore that was broken off are not taken for those of an earlier one', async () => {
  await (await restored()).commit();
  expect(readFileSync(note(), 'utf8')).toContain('"snapshot":"one"');
  await restored();
  expect(await removeLeftDisks(folder, await readMachine(folder))).toBeUndefined();
  expect(images()).toEqual(await ofMachine());
});
