/**
 * What the process of one virtual machine may have of this computer, as options of Node's permission model (Node.js, "Permissions"):
 *
 *     read     Ringfence itself, the machine's folder, what stands behind its disks, the kept boot that it goes on from
 *     write    its disks, its snapshots, its paging file and its runs' files
 *     network  only where the machine has a network card; the socket that it is asked through is handed to it
 *     threads  while it starts: those that execute its harts and compile its code
 *     nothing  of programs, native modules, debuggers
 *
 * A process that machines of one trust label share may have the same of all folders that machines of this label ever have: they can be said before there
 * is a machine in them (machine-folder/label-folder.ts). Folders of other labels are in none of these.
 *
 * What that model does not hold back is taken out of each thread by itself: machine/withdrawal.ts.
 */

import { cacheFolder } from '@ringfence/images/cache-folder';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { type LabelFolder, machinesOf } from '../machine-folder/label-folder.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import type { MachineDisks } from '../machine-folder/machine-files.ts';
import { unfinishedIn } from '../snapshot/snapshot-folder.ts';
import type { KeptPlace } from '../vm/kept-boot.ts';

/** Where Ringfence is: sources, the built program, the packages it needs. */
const REPOSITORY = new URL('../../../../', import.meta.url);
const PROGRAM_FOLDERS = ['packages/', 'node_modules/', 'build/', 'package.json'];

/** A folder and what is in it, also of one that is not there yet: of one that is, Node adds the latter itself. */
function within(folder: string): string[] {
  return [folder, join(folder, '*')];
}

/** What lets it write there. */
export function writing(path: string): string {
  return `--allow-fs-write=${path}`;
}

/** Of the process of one machine; it also reads what lies in the folders `kept`. */
export function permissionOptions(
  folder: MachineFolder,
  disks: Pick<MachineDisks, 'readable' | 'writable'>,
  kept: readonly string[] = [],
): string[] {
  return options(
    [...within(folder.path), ...disks.readable, ...kept.flatMap(within)],
    [...writableIn(folder).flatMap(within), ...disks.writable],
  );
}

/** Of a process that boots the image of that machine for nobody, and keeps what has booted there: what all go on from has spoken to nobody. */
export function keeperPermissionOptions({ image }: MachineFolder, { folder, key }: KeptPlace): string[] {
  return options(
    [...within(image), ...within(folder)],
    [...within(join(folder, key.name)), unfinishedIn(folder)],
    false,
  );
}

/** Of the process of all machines of a label; their disks are in their folders. */
export function labelPermissionOptions(folder: LabelFolder): string[] {
  const writable = machinesOf(folder).flatMap((path) => writableIn(machineFolder(path)));
  return options(within(folder.path), [...writable, folder.memory].flatMap(within));
}

function writableIn({ disks, snapshots, run, memory }: MachineFolder): string[] {
  return [disks, snapshots, run, memory];
}

function options(own: readonly string[], writable: readonly string[], hasNetwork = true): string[] {
  const readable = [
    ...PROGRAM_FOLDERS.map((name) => fileURLToPath(new URL(name, REPOSITORY))),
    ...own,
    // What others have made of this version's own code.
    join(cacheFolder(undefined, process.env), 'interpreters'),
  ];
  return [
    '--permission',
    // Calls of C functions, which none of ours makes.
    '--no-experimental-ffi',
    // Given up by the process itself once it listens (program.ts); without it nobody could ask it anything.
    ...(hasNetwork ? ['--allow-net'] : []),
    '--allow-worker',
    ...readable.map((path) => `--allow-fs-read=${path}`),
    ...writable.map(writing),
  ];
}
