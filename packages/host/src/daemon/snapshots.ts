/** Snapshots of machines, in their folders: taken by the machine's process, put into their place here, gone on from in a new process. */

import { closeSync, existsSync, readdirSync, readSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setImmediate as othersFirst } from 'node:timers/promises';
import type { SnapshotView } from '@ringfence/api';
import { BlockStoreError, MANIFEST_FILE, readQcow2Header } from '@ringfence/core';
import { hasEnded, HostError } from '../failure.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { fileIn } from '../machine-folder/layout.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import { checkFiles } from '../machine-folder/foreign-folder.ts';
import { removeLeftDisks, restoredDisks } from '../machine-folder/restored-disks.ts';
import { openRegular, openRegularSync } from '../regular-file.ts';
import { SnapshotStore, type StoredSnapshot } from '../snapshot/snapshot-store.ts';
import type { RunningMachine } from '../vm-process/running.ts';
import type { Entry } from './entry.ts';
import type { Progress } from './long-operations.ts';
import type { PreparedRestore } from './runs.ts';

export const MAXIMUM_SNAPSHOTS = 1000;

type SnapshotTaker = Pick<RunningMachine, 'snapshot'>;

export function storeOf({ snapshots }: MachineFolder): SnapshotStore {
  return new SnapshotStore(snapshots);
}

/** What a snapshot is called that nobody has named: the time, in UTC. */
export function timeName(): string {
  return new Date()
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replaceAll(':', '')
    .replace('T', '-');
}

export async function listSnapshots({ folder }: Entry): Promise<SnapshotView[]> {
  const store = storeOf(folder);
  const all = store.list();
  const views: SnapshotView[] = [];
  for (const one of all) {
    // It may have been removed meanwhile.
    if (existsSync(join(store.folder, one.name))) views.push(viewOf(store, one, all));
    // There may be a thousand, each with hundreds that it builds on.
    await othersFirst();
  }
  return views;
}

function viewOf(
  store: SnapshotStore,
  { name, id, parent }: StoredSnapshot,
  all: readonly StoredSnapshot[],
): SnapshotView {
  const path = join(store.folder, name);
  const bytes = readdirSync(path).reduce(
    (sum, file) => sum + (statSync(join(path, file), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
  const view = {
    name,
    id,
    bytes,
    ...(parent === undefined ? {} : { parent: all.find((one) => one.id === parent)?.name ?? parent }),
  };
  try {
    const opened = store.open(name, { verify: false, all });
    opened.close();
    const { createdAt, machine } = opened.manifest;
    return { ...view, createdAt, cpus: machine.harts, memoryBytes: machine.memoryBytes };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { ...view, createdAt: createdAtOf(path), cpus: 0, memoryBytes: 0, problem };
  }
}

/** Of one that cannot be used, what its manifest says where it says it. */
function createdAtOf(path: string): string {
  const head = headOf(join(path, MANIFEST_FILE));
  return /"createdAt":"([0-9TZ:.-]+)"/.exec(head)?.[1] ?? '';
}

/** Nothing of what is none. */
function headOf(path: string): string {
  const head = Buffer.alloc(1024);
  try {
    const fd = openRegularSync(path);
    try {
      return head.subarray(0, readSync(fd, head)).toString();
    } finally {
      closeSync(fd);
    }
  } catch {
    return '';
  }
}

/** Takes one of a machine that runs, or of a fork; nothing is left of it when that fails. Gives how long the guest stood still. */
export async function takeSnapshot(
  { run, folder, name: machine }: Pick<Entry, 'folder' | 'name'> & { readonly run: SnapshotTaker | undefined },
  name: string,
  parent: string | undefined,
  progress: Progress,
): Promise<number> {
  if (run === undefined) throw hasEnded(machine);
  progress.step('writing memory and disks');
  const store = storeOf(folder);
  const { path, pausedMs } = await run.snapshot(folder.snapshots, name, parent).catch(async (error: unknown) => {
    // Its process may be gone, and then has left something.
    await store.removeUnfinished();
    throw error;
  });
  progress.step('making it durable');
  await store.finish(name, path);
  return pausedMs;
}

/** Throws what speaks against a snapshot by that name. */
export function checkNewSnapshot({ folder, name: machine }: Entry, name: string, parent: string | undefined): void {
  const all = storeOf(folder).list();
  if (existsSync(join(folder.snapshots, name)))
    throw new HostError('name-taken', `the virtual machine "${machine}" has a snapshot "${name}" already`);
  if (all.length >= MAXIMUM_SNAPSHOTS)
    throw new HostError(
      'too-many',
      `the virtual machine "${machine}" has ${MAXIMUM_SNAPSHOTS} snapshots already, which is the most`,
    );
  if (parent !== undefined) checkSnapshot({ folder, name: machine }, parent);
}

/** Throws `not-found` when there is no such snapshot. */
export function checkSnapshot({ folder, name: machine }: Pick<Entry, 'folder' | 'name'>, name: string): void {
  if (
    !storeOf(folder)
      .list()
      .some((one) => one.name === name)
  )
    throw new HostError('not-found', `the virtual machine "${machine}" has no snapshot "${name}"`);
}

/** Removes one that neither another snapshot nor the machine's disks stand on. */
export async function removeSnapshot({ folder, name: machine }: Entry, name: string): Promise<void> {
  const config = await readMachine(folder);
  const at = join(folder.snapshots, name);
  for (const { file } of config.disks ?? [])
    if ((await imagesBehind(fileIn(folder, file))).some((path) => dirname(path) === at))
      throw new HostError(
        'in-use',
        `the disk ${file} of the virtual machine "${machine}" stands on the snapshot "${name}"`,
      );
  await storeOf(folder).remove(name);
}

/** The images behind a disk that a machine may be writing to, by what their headers say. */
async function imagesBehind(path: string): Promise<string[]> {
  const found: string[] = [];
  for (let at = path; found.length < 64;) {
    const backing = await backingOf(at);
    if (backing === undefined) break;
    at = resolve(dirname(at), backing);
    found.push(at);
  }
  return found;
}

async function backingOf(path: string): Promise<string | undefined> {
  await using file = await openRegular(path);
  const { size } = await file.stat();
  try {
    const header = await readQcow2Header({
      name: path,
      readOnly: true,
      sizeBytes: size,
      read: async (offset, into) => void (await file.readv([...into], offset)),
      write: () => Promise.reject(new Error('it is only read')),
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
    });
    return header.backing?.name.replace(/^file:/, '');
  } catch (error) {
    if (error instanceof BlockStoreError) return undefined;
    throw error;
  }
}

/** Makes ready for the machine to go on from a snapshot of its own, all of which is read before. */
export async function prepareRestore(
  { folder, mayLeadOutside }: Entry,
  snapshot: string,
  progress: Progress,
): Promise<PreparedRestore> {
  progress.step('looking at the snapshot');
  if (!mayLeadOutside) await checkFiles(folder, false);
  const manifest = await storeOf(folder).verify(snapshot);
  progress.step('making its disks');
  const config = await readMachine(folder);
  const { harts, memoryBytes } = manifest.machine;
  if (config.label !== undefined && harts !== config.cpus)
    throw new HostError(
      'other-machine',
      `the snapshot "${snapshot}" is of a machine with ${harts} processors, and those of the label "${config.label}" have ${config.cpus}`,
    );
  const restored = await restoredDisks(folder, config, snapshot, manifest, { mayLeadOutside });
  return { ...restored, snapshot, memoryBytes };
}

/**
 * Clears up what a daemon that was killed has left in the machine's folder. Gives the snapshot that the machine is to go on from when it was killed
 * as it was about to.
 */
export async function removeLeftovers({ folder }: Entry): Promise<string | undefined> {
  await storeOf(folder).removeUnfinished();
  await rm(folder.copying, { force: true });
  const config = await readMachine(folder).catch(() => undefined);
  if (config === undefined) return undefined;
  return removeLeftDisks(folder, config);
}
