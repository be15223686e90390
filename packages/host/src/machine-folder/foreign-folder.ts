/**
 * A folder that came from elsewhere and says that it is a virtual machine. What it says is an allegation: it may name any file of the user, by its disks,
 * by what stands behind these or by links, and have notes of runs that were another machine's.
 */

import type { Dirent } from 'node:fs';
import { readdir, readlink, realpath, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';
import { HostError } from '../failure.ts';
import type { MachineFolder } from './layout.ts';

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

/** Throws `forbidden` where a disk's file, or one behind it, is outside of the folder; to be asked before that is opened, or looked at. */
export async function checkInside(folder: MachineFolder, path: string): Promise<void> {
  // Of one that is not there, where it would be.
  const place = await realpath(path).catch(async () => {
    const parent = dirname(path);
    return join(await realpath(parent).catch(() => parent), basename(path));
  });
  if (!isIn(folder, place)) refuse(folder, [place]);
}

/** Removes what says how an earlier run stands: it says nothing of this machine, and would be believed. */
export async function forgetRuns(folder: MachineFolder): Promise<void> {
  const { leaving, marks, copying, arrived, cameFrom, pagesIn, pagesOut, end, run, snapshots } = folder;
  const notes = [
    leaving,
    marks,
    copying,
    arrived,
    cameFrom,
    pagesIn,
    pagesOut,
    end,
    join(run, 'restoring.json'),
    join(snapshots, '.digests.json'),
  ];
  for (const note of notes) await rm(note, { force: true });
}

function isIn({ path }: MachineFolder, place: string): boolean {
  const from = relative(path, place);
  // On another drive, where there are drives.
  return from !== '..' && !from.startsWith(`..${sep}`) && !isAbsolute(from);
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
