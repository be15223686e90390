/**
 * A folder that came from elsewhere and says that it is a virtual machine. What it says is an allegation: it may name any file of the user, by its disks,
 * by what stands behind these or by links, and have notes of runs that were another machine's.
 */

import type { Dirent } from 'node:fs';
import { readdir, readlink, realpath, rm } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { HostError } from '../failure.ts';
import { diskLockPath } from '../disk/disk-lock.ts';
import type { MachineFolder } from './layout.ts';
import type { MachineDisks } from './machine-files.ts';

/** Files in one machine's folder; a thousand snapshots have five each. */
const MAXIMUM_FILES = 100_000;
/** How many of the files outside are named. */
const MAXIMUM_NAMED = 3;

/**
 * Looks at everything in the folder, without opening any of it; throws `not-a-machine` for what is neither file nor folder nor link, and `forbidden` for
 * links that lead outside where that is not allowed.
 */
export async function checkFiles(folder: MachineFolder, mayLeadOutside: boolean): Promise<void> {
  const outside: string[] = [];
  let count = 0;
  const look = async (at: string): Promise<void> => {
    for (const entry of await readdir(at, { withFileTypes: true })) {
      if (++count > MAXIMUM_FILES)
        throw new HostError('not-a-machine', `the folder ${folder.path} has more than ${MAXIMUM_FILES} files`);
      const path = join(at, entry.name);
      if (entry.isDirectory()) await look(path);
      else if (entry.isSymbolicLink()) {
        const place = await realpath(path).catch(() => undefined);
        // Where nothing is, a file would be made.
        if (place === undefined) outside.push(await readlink(path));
        else if (!isIn(folder, place)) outside.push(place);
      } else checkKind(path, entry);
    }
  };
  await look(folder.path);
  if (!mayLeadOutside) refuse(folder, outside);
}

/** Throws `forbidden` where a disk is a file outside of the folder, or stands on one. */
export async function checkDisksInside(folder: MachineFolder, { readable }: MachineDisks): Promise<void> {
  const images = readable.filter((path) => !readable.some((other) => diskLockPath(other) === path));
  const places = await Promise.all(images.map((path) => realpath(path)));
  refuse(
    folder,
    places.filter((place) => !isIn(folder, place)),
  );
}

/** Removes what says how an earlier run stands: it says nothing of this machine, and would be believed. */
export async function forgetRuns(folder: MachineFolder): Promise<void> {
  const { leaving, marks, copying, arrived, end, run, snapshots } = folder;
  const notes = [leaving, marks, copying, arrived, end, join(run, 'restoring.json'), join(snapshots, '.digests.json')];
  for (const note of notes) await rm(note, { force: true });
}

function isIn({ path }: MachineFolder, place: string): boolean {
  const from = relative(path, place);
  return from !== '..' && !from.startsWith(`..${sep}`);
}

function checkKind(path: string, entry: Dirent): void {
  if (!entry.isFile()) throw new HostError('not-a-machine', `${path} is neither a file nor a folder`);
}

function refuse({ path }: MachineFolder, outside: readonly string[]): void {
  if (outside.length === 0) return;
  const more = outside.length > MAXIMUM_NAMED ? ` and ${outside.length - MAXIMUM_NAMED} more` : '';
  throw new HostError(
    'forbidden',
    `the folder ${path} leads outside of itself, to ${outside.slice(0, MAXIMUM_NAMED).join(', ')}${more}; "ringfence register --outside" takes it in with that (allowOutside)`,
  );
}
