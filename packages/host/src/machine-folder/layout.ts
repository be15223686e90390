/**
 * The folder that a virtual machine is. It can be copied, moved and read; nothing of the machine is elsewhere but images that somebody
 * has put behind its disks.
 *
 *     vm.yaml      what the machine is (config.ts)
 *     image/       what it boots: kernel, initrd, image.json, and disk.qcow2 behind the system's disk; read only
 *     disks/       what its guest writes
 *     snapshots/   a folder each (host's snapshot/)
 *     run/         of its runs: console.log, process.log, end.json; and of how it came: arrived.json, came-from
 *     memory/      where the paging file of one with a pool is made, which has no name there
 */

import { isAbsolute, join, resolve } from 'node:path';
import { FILE_NAME } from './vm-yaml.ts';

export interface MachineFolder {
  readonly path: string;
  readonly yaml: string;
  readonly image: string;
  readonly disks: string;
  readonly snapshots: string;
  /** For a paging file, which has no name. */
  readonly memory: string;
  readonly run: string;
  readonly consoleLog: string;
  readonly processLog: string;
  readonly end: string;
  /** Says which migration brought the machine here, once it is here. */
  readonly arrived: string;
  /** Says which daemon it came from, as long as pages may be missing; and two FIFOs by which these come (migration/mailbox.ts). */
  readonly cameFrom: string;
  readonly pagesIn: string;
  readonly pagesOut: string;
  /** There until the machine has gone on from the snapshot of another one that it was made of. */
  readonly copying: string;
  /** Says where it is being moved to. */
  readonly leaving: string;
  /** Names the files beside disks that are there while it is asked whether another daemon reaches them. */
  readonly marks: string;
}

export function machineFolder(path: string): MachineFolder {
  const run = join(path, 'run');
  return {
    path,
    yaml: join(path, FILE_NAME),
    image: join(path, 'image'),
    disks: join(path, 'disks'),
    snapshots: join(path, 'snapshots'),
    memory: join(path, 'memory'),
    run,
    consoleLog: join(run, 'console.log'),
    processLog: join(run, 'process.log'),
    end: join(run, 'end.json'),
    arrived: join(run, 'arrived.json'),
    cameFrom: join(run, 'came-from'),
    pagesIn: join(run, 'pages.in'),
    pagesOut: join(run, 'pages.out'),
    copying: join(path, 'copying.json'),
    leaving: join(path, 'leaving.json'),
    marks: join(path, 'marks.json'),
  };
}

/** A file that vm.yaml names. */
export function fileIn({ path }: MachineFolder, file: string): string {
  return isAbsolute(file) ? file : resolve(path, file);
}
