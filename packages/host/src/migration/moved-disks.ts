/**
 * Disks of a machine that moves. Those that its guest writes to are made anew where it comes to, empty, and filled by the migration itself; what stands
 * behind them is not sent where it is there already:
 *
 *     here    disks/system.qcow2 ──> image/disk.qcow2        disks/data.qcow2 ──> /srv/base.qcow2
 *     there   disks/system.qcow2 ──> image/disk.qcow2        disks/data.qcow2 ──> /srv/base.qcow2   when that is the same file, by its SHA-256;
 *                                                            disks/data.qcow2                       otherwise, with what both held
 *
 * Where both computers reach the same file, a disk that is not in the machine's folder need not be sent: it is let go of here when the machine stands still,
 * and opened there before it runs. That it is the same file is seen by another one beside it, which is there only for that.
 *
 * A disk that is only read goes as a file where it lies in the machine's folder, and has to be there already where it does not.
 */

import { randomUUID } from 'node:crypto';
import { lstat, open, realpath, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, isAbsolute, join, relative } from 'node:path';
import { formatSize } from '@ringfence/core/sizes';
import * as z from 'zod/mini';
import type { OpenedDiskView } from '../control/operations.ts';
import { diskLockPath } from '../disk/disk-lock.ts';
import { parseDiskSpec } from '../disk/disk-spec.ts';
import { HostError, systemReason } from '../failure.ts';
import { readRegular } from '../regular-file.ts';
import type { MachineConfig } from '../machine-folder/config.ts';
import { fileIn, type MachineFolder } from '../machine-folder/layout.ts';
import { diskSpecOf, type MachineDisks } from '../machine-folder/machine-files.ts';
import { newQcow2 } from '../machine-folder/new-disk.ts';
import { stemOf } from '../machine-folder/restored-disks.ts';
import { changedVmYaml } from '../machine-folder/vm-yaml.ts';
import { syncFolder } from '../sync-folder.ts';
import { digestOf } from './file-digests.ts';
import { MAXIMUM_FILE_BYTES, type MovedDisk, type MovedFile } from './protocol.ts';

/** What of a disk is sent, as its process is told. */
export interface SentDisk {
  /** How many of its images, from the front. */
  readonly layers: number;
  /** Nothing stands behind them there. */
  readonly isBlank: boolean;
  readonly isShared: boolean;
}

export interface LeavingDisks extends AsyncDisposable {
  readonly disks: readonly MovedDisk[];
  /** Those that are only read, and lie in the machine's folder. */
  readonly files: readonly MovedFile[];
  /** What is sent, when of each disk so many of the images behind it have to be. */
  sent(behind: readonly number[]): SentDisk[];
}

/**
 * What the other daemon has to know of them, as the machine's process has them open. With `sharesFiles` those outside of its folder are said to be there. To
 * be disposed of when the other daemon has answered.
 */
export async function leavingDisks(
  folder: MachineFolder,
  opened: readonly OpenedDiskView[],
  sharesFiles = false,
): Promise<LeavingDisks> {
  const disks: MovedDisk[] = [];
  const files: MovedFile[] = [];
  await using marks = new AsyncDisposableStack();
  marks.defer(() => rm(folder.marks, { force: true }));
  for (const { sizeBytes, discardBytes, readOnly, chain } of opened) {
    const [front, ...rest] = chain;
    if (front === undefined) throw new HostError('unsupported', 'it has disks that are no files, which do not move');
    const behind: MovedDisk['behind'] = [];
    for (const { path, format } of readOnly && !isIn(folder.disks, front.path) ? chain : rest)
      behind.push({ path: pathFrom(folder, path), format, ...(await identityOf(path)) });
    if (readOnly && isIn(folder.disks, front.path))
      files.push({ folder: 'disks', name: basename(front.path), ...(await identityOf(front.path)) });
    const { blocks } = await stat(front.path);
    checkSize(front.path, Math.max(sizeBytes, blocks * BLOCK_BYTES));
    disks.push({
      format: front.format,
      sizeBytes,
      ...(discardBytes === undefined ? {} : { discardBytes }),
      bytes: blocks * BLOCK_BYTES,
      behind,
      ...(sharesFiles && !readOnly && isAbsolute(pathFrom(folder, front.path))
        ? { shared: await marked(folder, front.path, marks) }
        : {}),
    });
  }
  if (sharesFiles && disks.every(({ shared }) => shared === undefined))
    throw new HostError(
      'bad-argument',
      'none of its disks that are written is outside of its folder, and what is in it moves with it',
    );
  const marking = marks.move();
  return {
    disks,
    files,
    [Symbol.asyncDispose]: () => marking.disposeAsync(),
    sent(behind) {
      if (behind.length !== disks.length)
        throw new HostError('protocol', 'the other daemon speaks of other disks than the machine has');
      return disks.map((disk, index) => {
        const count = Math.min(behind[index] ?? 0, disk.behind.length);
        const isShared = disk.shared !== undefined;
        if (isShared || opened[index]?.readOnly === true) return { layers: 0, isBlank: false, isShared };
        return { layers: 1 + count, isBlank: count === disk.behind.length, isShared };
      });
    },
  };
}

export interface ArrivingDisks {
  /** The machine's vm.yaml here: its disks are in its folder, wherever they were. */
  readonly yaml: string;
  /** What its process may have of them. */
  readonly disks: MachineDisks;
  /** Those whose files the other end has until the machine is here. */
  readonly absent: Readonly<Record<number, Pick<MovedDisk, 'sizeBytes' | 'discardBytes'>>>;
  /** Of each how many of the images behind it have to be sent with it. */
  readonly behind: readonly number[];
  /** Room that they take. */
  readonly neededBytes: number;
  /** Makes those that are filled by the migration, when the files of the machine's image are there. */
  make(): Promise<void>;
}

/** What becomes of the disks here; rejects with a HostError where they cannot be here. */
export async function arrivingDisks(
  folder: MachineFolder,
  yaml: string,
  { disks: wanted = [] }: MachineConfig,
  { disks: moved, files }: { readonly disks: readonly MovedDisk[]; readonly files: readonly MovedFile[] },
): Promise<ArrivingDisks> {
  if (moved.length !== wanted.length)
    throw new HostError('protocol', 'the other daemon speaks of other disks than its vm.yaml has');
  const changes: [path: (string | number)[], value: string][] = [];
  const [specs, writable, readable]: [string[], string[], Set<string>] = [[], [], new Set()];
  const behind: number[] = [];
  const absent: Record<number, MovedDisk> = {};
  const making: (() => Promise<void>)[] = [];
  let neededBytes = 0;
  for (const [index, disk] of moved.entries()) {
    const { file, readonly: readOnly = false } = wanted[index] ?? { file: '' };
    const there = await firstThere(disk, files);
    const stands = disk.behind.slice(there).map(({ path }) => fileIn(folder, path));
    let path = fileIn(folder, file);
    if (readOnly) {
      const name = basename(path);
      const isSent =
        dirname(path) === folder.disks && files.some((each) => each.folder === 'disks' && each.name === name);
      const isHere = disk.behind[0] !== undefined && fileIn(folder, disk.behind[0].path) === path;
      if (there > 0 || (!isSent && !isHere))
        throw new HostError(
          'unsupported',
          `its disk ${file} is only read, and what it is made of is not there, or is another: ${disk.behind[0]?.path ?? file}`,
        );
    } else if (disk.shared !== undefined) {
      await checkShared(disk.shared, there);
      if (path !== disk.shared.path) changes.push([['disks', index, 'file'], disk.shared.path]);
      path = disk.shared.path;
      absent[index] = disk;
      writable.push(path, diskLockPath(path));
    } else {
      if (dirname(path) !== folder.disks || specs.some((spec) => parseDiskSpec(spec).path === path)) {
        const name = `disks/${stemOf(file).replaceAll(/[^A-Za-z0-9._-]/g, '_')}~moved${index}${extname(file) || '.img'}`;
        changes.push([['disks', index, 'file'], name]);
        path = fileIn(folder, name);
      }
      neededBytes += disk.bytes + disk.behind.slice(0, there).reduce((sum, { bytes }) => sum + bytes, 0);
      const backing = disk.behind[there];
      const made = path;
      making.push(() => makeDisk(made, folder, disk, backing));
      writable.push(path, diskLockPath(path));
    }
    behind.push(there);
    specs.push(diskSpecOf(path, disk.format, readOnly));
    for (const each of [path, ...stands]) readable.add(each).add(diskLockPath(each));
  }
  await checkSpace(dirname(folder.path), neededBytes);
  return {
    yaml: changes.length === 0 ? yaml : changedVmYaml(yaml, 'its vm.yaml', changes),
    disks: { specs, writable, readable: [...readable] },
    absent,
    behind,
    neededBytes,
    async make() {
      for (const make of making) await make();
      if (making.length > 0) await syncFolder(folder.disks);
    },
  };
}

/** Puts an empty file beside a disk. That it is there is written down before. */
async function marked(
  folder: MachineFolder,
  path: string,
  marks: AsyncDisposableStack,
): Promise<NonNullable<MovedDisk['shared']>> {
  const real = await realpath(path);
  const mark = markPath(real, randomUUID());
  const others = await marksOf(folder);
  await writeFile(folder.marks, JSON.stringify([...others, { path: real, mark }]), { mode: 0o600 });
  try {
    await writeFile(mark, '', { flag: 'wx', mode: 0o600 });
  } catch (error) {
    throw new HostError(
      'unavailable',
      `the folder of the disk ${real} cannot be written: ${systemReason(error)}`,
      error,
    );
  }
  marks.defer(() => rm(mark, { force: true }));
  return { path: real, mark };
}

const MARKS = z.array(z.object({ path: z.string(), mark: z.string() }));

async function marksOf({ marks }: MachineFolder): Promise<z.output<typeof MARKS>> {
  try {
    return z.parse(MARKS, JSON.parse(await readRegular(marks)));
  } catch {
    return [];
  }
}

/** What a daemon that was killed while it asked has left beside disks. */
export async function removeMarks(folder: MachineFolder): Promise<void> {
  for (const { path, mark } of await marksOf(folder)) if (await isMark(mark, path)) await rm(mark, { force: true });
  await rm(folder.marks, { force: true });
}

function markPath(disk: string, id: string): string {
  return join(dirname(disk), `.${basename(disk)}.${id}.ringfence-mark`);
}

/** Whether it is one that was put there for that: who names any other file reaches no disk by it. */
async function isMark(mark: string, disk: string): Promise<boolean> {
  const id = basename(mark).slice(basename(disk).length + 2, -'.ringfence-mark'.length);
  if (!UUID.test(id) || mark !== markPath(disk, id)) return false;
  try {
    const found = await lstat(mark);
    return found.isFile() && found.size === 0;
  } catch {
    return false;
  }
}

/** Throws when the file here is not the one there, or what stands behind it is not here. */
async function checkShared({ path, mark }: NonNullable<MovedDisk['shared']>, missing: number): Promise<void> {
  const isMarked = isAbsolute(path) && (await isMark(mark, path)) && (await isFile(path));
  if (isMarked && missing === 0) return;
  throw new HostError(
    'unsupported',
    isMarked
      ? `what stands behind its disk ${path} is not the same there`
      : `its disk ${path} is not the same file there; without --shared-disks it is copied`,
  );
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/** The first of the images behind it that is here, with all that stand behind that one; how many there are when none is. */
async function firstThere({ behind }: MovedDisk, files: readonly MovedFile[]): Promise<number> {
  let first = behind.length;
  while (first > 0) {
    const image = behind[first - 1];
    if (image === undefined || !(await isThere(image, files))) break;
    first--;
  }
  return first;
}

async function isThere(image: MovedDisk['behind'][number], files: readonly MovedFile[]): Promise<boolean> {
  const { path, bytes, sha256 } = image;
  // Those of the machine's own image come with it.
  if (!isAbsolute(path))
    return files.some(
      (file) => path === join(file.folder, file.name) && file.folder === 'image' && file.sha256 === sha256,
    );
  try {
    const found = await stat(path);
    return found.isFile() && found.size === bytes && (await digestOf(path)) === sha256;
  } catch {
    return false;
  }
}

async function makeDisk(
  path: string,
  folder: MachineFolder,
  { format, sizeBytes }: MovedDisk,
  backing: MovedDisk['behind'][number] | undefined,
): Promise<void> {
  if (format === 'raw') return makeRaw(path, sizeBytes);
  if (backing === undefined) return newQcow2(path, { sizeBytes });
  const name = isAbsolute(backing.path) ? backing.path : relative(folder.disks, fileIn(folder, backing.path));
  return newQcow2(path, { sizeBytes, backing: { name, format: backing.format } });
}

async function makeRaw(path: string, bytes: number): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.truncate(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new HostError('unavailable', `the disk ${path} cannot be made: ${systemReason(error)}`, error);
  }
}

/** Throws `no-space` when less is left in the folder, for disks of a machine and files of its image. */
export async function checkSpace(path: string, neededBytes: number): Promise<void> {
  if (neededBytes === 0) return;
  const { bavail, bsize } = await statfs(path);
  const free = bavail * bsize;
  if (neededBytes > free)
    throw new HostError(
      'no-space',
      `its disks and images take ${formatSize(neededBytes)}, and the computer there has ${formatSize(free)} left where machines are`,
    );
}

/** Throws for what the other daemon would not read the size of. */
function checkSize(path: string, bytes: number): void {
  if (bytes <= MAXIMUM_FILE_BYTES) return;
  throw new HostError(
    'unsupported',
    `its disk ${path} is of ${formatSize(bytes)}; more than ${formatSize(MAXIMUM_FILE_BYTES)} does not move`,
  );
}

async function identityOf(path: string): Promise<{ readonly bytes: number; readonly sha256: string }> {
  try {
    const { size } = await stat(path);
    checkSize(path, size);
    return { bytes: size, sha256: await digestOf(path) };
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new HostError('unavailable', `the image ${path} cannot be read: ${systemReason(error)}`, error);
  }
}

/** As the other daemon finds it: what is in the machine's folder is in the one there, or nowhere. */
function pathFrom({ path: folder }: MachineFolder, path: string): string {
  const within = relative(folder, path);
  return within.startsWith('..') || isAbsolute(within) ? path : within;
}

function isIn(folder: string, path: string): boolean {
  return dirname(path) === folder;
}

/** RFC 9562, section 4, as `randomUUID` writes it. */
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Of `blocks` (stat(2)). */
const BLOCK_BYTES = 512;
