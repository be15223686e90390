/**
 * The disks of a machine that goes on from one of its snapshots: for each that is written to an empty image in front of the snapshot's, beside the
 * machine's present ones. Which of them are the machine's, its vm.yaml says: that is changed at once, and what is not named there any more is
 * removed.
 *
 *     vm.yaml ──> disks/system.qcow2                        before
 *     vm.yaml ──> disks/system~1f2e3d4c.qcow2 ──> snapshots/before/disk0.qcow2 ──> image/disk.qcow2      after
 */

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { SnapshotError, type SnapshotManifest } from '@ringfence/core';
import * as z from 'zod/mini';
import { diskLockPath } from '../disk/disk-lock.ts';
import { readRegular } from '../regular-file.ts';
import { syncFolder } from '../sync-folder.ts';
import { impossible, type MachineConfig } from './config.ts';
import { fileIn, type MachineFolder } from './layout.ts';
import { changeMachine, type MachineDisks, machineDisks, readMachine } from './machine-files.ts';
import { newDisk } from './new-disk.ts';

/** Of the names of such images. */
const OURS = /^(.+?)~[0-9a-f]{8}\.qcow2$/;

/** What a disk is called, however often its machine was restored. */
export function stemOf(file: string): string {
  return OURS.exec(basename(file))?.[1] ?? basename(file).replace(/\.[a-z0-9]+$/i, '');
}

export interface RestoredDisks {
  readonly disks: MachineDisks;
  /** From then on they are the machine's, and it is made like the snapshot. */
  commit(): Promise<void>;
  /** Removes those that are not the machine's then, as its vm.yaml says; waits for a `commit` that is under way. */
  settle(): Promise<void>;
}

/** Makes them; throws a SnapshotError or a HostError, and nothing is left of them. */
export async function restoredDisks(
  folder: MachineFolder,
  config: MachineConfig,
  snapshot: string,
  manifest: SnapshotManifest,
  where: { readonly mayLeadOutside: boolean },
): Promise<RestoredDisks> {
  const { disks: before = [] } = config;
  checkMake(config, manifest);
  // What an earlier one has left says nothing of this one.
  await removeLeftDisks(folder, config);
  const made: { readonly index: number; readonly file: string }[] = [];
  const removeMade = (): Promise<void> =>
    remove(
      folder,
      made.map(({ file }) => file),
    );
  try {
    for (const [index, { file, readOnly, behind }] of manifest.disks.entries()) {
      const now = before[index]?.file ?? '';
      if (file === null) await checkReference(folder, now, snapshot, behind[0]?.path ?? '');
      if (readOnly || file === null) continue;
      const name = `disks/${stemOf(now)}~${randomBytes(4).toString('hex')}.qcow2`;
      made.push({ index, file: name });
      // Before that opens them.
      await machineDisks(folder, { disks: [{ file: `snapshots/${snapshot}/${file}`, readonly: true }] }, where);
      await newDisk(fileIn(folder, name), { backing: `../snapshots/${snapshot}/${file}` });
    }
    const after = before.map((disk, index) => ({ ...disk, ...made.find((each) => each.index === index) }));
    const disks = await machineDisks(folder, { disks: after }, where);
    const what: Note = {
      snapshot,
      disks: made.map(({ file }) => file),
      before: made.map(({ index }) => before[index]?.file ?? ''),
    };
    const change = async (): Promise<void> => {
      await noteRestore(folder, what);
      await changeMachine(folder, [
        ...made.map(({ index, file }) => [['disks', index, 'file'], file] as const),
        [['cpus'], manifest.machine.harts],
        [['memory'], memoryText(manifest.machine.memoryBytes)],
      ]);
    };
    let committed: Promise<void> | undefined;
    return {
      disks,
      commit: () => (committed = change()),
      async settle() {
        // The process may end, and its start with it, while that is being written.
        await committed?.catch(() => undefined);
        const now = await readMachine(folder).catch(() => undefined);
        // When nobody can say which are the machine's, all stay.
        if (now !== undefined) await removeUnused(folder, now, what);
      },
    };
  } catch (error) {
    await removeMade();
    throw error;
  }
}

/** In `run/`, while a machine is being restored. */
const NOTE = 'restoring.json';
const note = z.object({
  snapshot: z.string(),
  disks: z.array(z.string()).check(z.minLength(1)),
  /** Those that the machine has until then, in whose place these come. */
  before: z.array(z.string()),
});
type Note = z.output<typeof note>;

async function noteRestore(folder: MachineFolder, what: Note): Promise<void> {
  await writeFile(join(folder.run, NOTE), JSON.stringify(what), { mode: 0o600, flush: true });
  await syncFolder(folder.run);
}

async function readNote(folder: MachineFolder): Promise<Note | undefined> {
  try {
    return z.parse(note, JSON.parse(await readRegular(join(folder.run, NOTE))));
  } catch {
    return undefined;
  }
}

async function removeNote(folder: MachineFolder): Promise<void> {
  await rm(join(folder.run, NOTE), { force: true });
}

/**
 * Removes what a daemon that was killed has left of a restore. Gives the snapshot that the machine was about to go on from when its disks were that
 * snapshot's already, and it was killed, or this computer was.
 */
export async function removeLeftDisks(folder: MachineFolder, config: MachineConfig): Promise<string | undefined> {
  const names = await readdir(folder.disks).catch(() => []);
  const left = names.filter((name) => OURS.test(name)).map((name) => `disks/${name}`);
  const what = await readNote(folder);
  await removeUnused(folder, config, { disks: [...left, ...(what?.disks ?? [])], before: what?.before ?? [] });
  return what !== undefined && isCommitted(config, what) ? what.snapshot : undefined;
}

function isCommitted(config: MachineConfig, { disks }: Pick<Note, 'disks'>): boolean {
  return disks.every((file) => config.disks?.some((disk) => disk.file === file));
}

/** Of the disks from before a restore and those for it, the ones that the machine does not have. */
async function removeUnused(
  folder: MachineFolder,
  config: MachineConfig,
  { disks, before }: Pick<Note, 'disks' | 'before'>,
): Promise<void> {
  const used = new Set((config.disks ?? []).map(({ file }) => fileIn(folder, file)));
  await remove(
    folder,
    [...disks, ...before].filter((file) => !used.has(fileIn(folder, file))),
  );
  await removeNote(folder);
}

/** Files in `disks/`; what somebody has elsewhere is theirs. */
async function remove(folder: MachineFolder, files: readonly string[]): Promise<void> {
  for (const file of files) {
    const path = fileIn(folder, file);
    if (dirname(path) !== folder.disks) continue;
    await rm(path, { force: true });
    for (const lock of [diskLockPath(path), `${diskLockPath(path)}-journal`]) await rm(lock, { force: true });
  }
}

function checkMake(config: MachineConfig, { disks: points, about, machine }: SnapshotManifest): void {
  const { disks = [], networks = [] } = config;
  const made = { ...config, cpus: machine.harts, memory: memoryText(machine.memoryBytes) };
  const problem = impossible(made);
  // What else cannot be of it is said of its vm.yaml.
  if (problem !== undefined && ['cpus', 'memory'].includes(String(problem.path[0])))
    throw new SnapshotError(
      'broken',
      `its manifest says what cannot be: ${String(problem.path[0])} ${problem.problem}`,
    );
  const other = (what: string): SnapshotError =>
    new SnapshotError('other-machine', `the snapshot is of a virtual machine with ${what} than this one has`);
  if (
    disks.length !== points.length ||
    disks.some(({ readonly = false }, index) => readonly !== points[index]?.readOnly)
  )
    throw other('other disks');
  if (networks.length > 0 !== (about['network'] !== 'none')) throw other('another network');
}

/** A disk that is only read has to be the file that it was. */
async function checkReference(folder: MachineFolder, file: string, snapshot: string, path: string): Promise<void> {
  const was = resolve(join(folder.snapshots, snapshot), path);
  const [now, then] = await Promise.all([fileIn(folder, file), was].map((each) => realpath(each).catch(() => each)));
  if (now !== then)
    throw new SnapshotError(
      'other-machine',
      `the snapshot is of a machine that reads the disk ${was}, and this one reads ${file}`,
    );
}

/** As vm.yaml has it. */
function memoryText(bytes: number): string | number {
  const mebibytes = bytes / 1024 ** 2;
  return Number.isInteger(mebibytes) ? `${mebibytes}M` : bytes;
}

/** Whether a path that a manifest has is one of the machine's folder, as its snapshots see it; gives it from the folder. */
export function pathInFolder(folder: MachineFolder, path: string): string | undefined {
  if (isAbsolute(path)) return undefined;
  const from = relative(folder.path, resolve(join(folder.snapshots, 'any'), path));
  return from.startsWith('..') || !existsSync(join(folder.path, from)) ? undefined : from;
}
