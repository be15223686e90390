/**
 * What the process of one virtual machine may have of this computer, as options of Node's permission model (Node.js, "Permissions"):
 *
 *     read     Ringfence itself, the machine's folder, what stands behind its disks
 *     write    its disks, its snapshots, its paging file and its runs' files
 *     network  only where the machine has a network card; the socket that it is asked through is handed to it
 *     threads  while it starts: those that execute its harts and compile its code
 *     nothing  of programs, native modules, debuggers
 *
 * What that model does not hold back is taken out of each thread by itself: machine/withdrawal.ts.
 */

import { cacheFolder } from '@ringfence/images/cache-folder';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { MachineFolder } from '../machine-folder/layout.ts';
import type { MachineDisks } from '../machine-folder/machine-files.ts';

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

export function permissionOptions(folder: MachineFolder, disks: Pick<MachineDisks, 'readable' | 'writable'>): string[] {
  const readable = [
    ...PROGRAM_FOLDERS.map((name) => fileURLToPath(new URL(name, REPOSITORY))),
    ...within(folder.path),
    // What others have made of this version's own code.
    join(cacheFolder(undefined, process.env), 'interpreters'),
    ...disks.readable,
  ];
  const writable = [...[folder.disks, folder.snapshots, folder.run, folder.memory].flatMap(within), ...disks.writable];
  return [
    '--permission',
    // Calls of C functions, which none of ours makes.
    '--no-experimental-ffi',
    // Given up by the process itself once it listens (program.ts); without it nobody could ask it anything.
    '--allow-net',
    '--allow-worker',
    ...readable.map((path) => `--allow-fs-read=${path}`),
    ...writable.map(writing),
  ];
}
