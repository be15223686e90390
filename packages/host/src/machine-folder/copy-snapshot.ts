/**
 * A new machine that is to go on from a snapshot of another one: a folder of its own with what it boots, the snapshot and those that it builds on,
 * and what stands behind its disks. None of these is ever written to, so that they are links where the file system is the same.
 */

import { constants } from 'node:fs';
import { copyFile, link, mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { SnapshotError, type SnapshotManifest } from '@ringfence/core';
import { randomMac } from '../network/random-mac.ts';
import type { SnapshotStore } from '../snapshot/snapshot-store.ts';
import type { MachineConfig } from './config.ts';
import { fileIn, type MachineFolder } from './layout.ts';
import { placedWhole } from './machine-files.ts';
import { newDisk } from './new-disk.ts';
import { pathInFolder, stemOf } from './restored-disks.ts';
import { vmYamlOf } from './vm-yaml.ts';

/** What such a machine is to be. Ports of this computer lead to one machine only. */
export function copiedConfig(config: MachineConfig, id: string, name: string): MachineConfig {
  const networks = (config.networks ?? []).map(({ mode }) => ({ mode, mac: randomMac().toString() }));
  const { disks: before = [] } = config;
  // Those that are only read are there by their own names.
  const taken = new Set(before.filter(({ readonly }) => readonly === true).map(({ file }) => normalize(file)));
  const disks = before.map((disk) => {
    if (disk.readonly === true) return disk;
    let file = `disks/${stemOf(disk.file)}.qcow2`;
    for (let n = 2; taken.has(file); n++) file = `disks/${stemOf(disk.file)}-${n}.qcow2`;
    taken.add(file);
    return { file };
  });
  return { ...config, id, name, networks, disks };
}

/** Makes the folder at `path`, by way of `making`; all or nothing. */
export async function copySnapshot(
  making: string,
  path: string,
  config: MachineConfig,
  from: {
    readonly folder: MachineFolder;
    readonly store: SnapshotStore;
    readonly name: string;
    readonly manifest: SnapshotManifest;
  },
): Promise<void> {
  const { folder, name, manifest } = from;
  await placedWhole(path, making, async (made) => {
    for (const each of [made.disks, made.run, made.snapshots]) await mkdir(each, { mode: 0o700 });
    await linkFolder(folder.image, made.image);
    for (const each of chainOf(from.store, name))
      await linkFolder(join(folder.snapshots, each), join(made.snapshots, each));
    const behind = manifest.disks.flatMap((disk) => disk.behind.map((image) => pathInFolder(folder, image.path)));
    for (const file of behind) if (file !== undefined) await place(join(folder.path, file), join(making, file));
    for (const [index, { file }] of manifest.disks.entries())
      if (file !== null)
        await newDisk(fileIn(made, config.disks?.[index]?.file ?? ''), { backing: `../snapshots/${name}/${file}` });
    await writeFile(made.yaml, vmYamlOf(config), { mode: 0o600, flush: true });
    await writeFile(made.copying, JSON.stringify({ snapshot: name }), { mode: 0o600, flush: true });
  });
}

/** The snapshot and those that it builds on, by their names. */
function chainOf(store: SnapshotStore, name: string): string[] {
  const all = store.list();
  const chain: string[] = [];
  for (let one = all.find((each) => each.name === name); one !== undefined;) {
    const { name: at, parent } = one;
    if (chain.includes(at)) throw new SnapshotError('broken', `the snapshot "${name}" builds on itself`);
    chain.push(at);
    one = all.find(({ id }) => id === parent);
  }
  return chain;
}

async function linkFolder(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o700 });
  for (const entry of await readdir(from, { withFileTypes: true }))
    // Locks are each folder's own.
    if (entry.isFile() && !entry.name.startsWith('.')) await place(join(from, entry.name), join(to, entry.name));
}

async function place(from: string, to: string): Promise<void> {
  if (basename(to).startsWith('.')) return;
  try {
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    await link(from, to);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return;
    // Another file system, or one without links.
    await copyFile(from, to, constants.COPYFILE_FICLONE);
  }
}
