/** Files of a machine that comes: its image, of which what is here already is not sent, and disks that the migration fills. */

import { createHash } from 'node:crypto';
import { link as linkFile, open, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { cachedImageFiles } from '@ringfence/images/cache-folder';
import { FRAME, type FrameLink } from '../control/frames.ts';
import { HostError } from '../failure.ts';
import { checkFiles } from '../machine-folder/foreign-folder.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { machineDisks } from '../machine-folder/machine-files.ts';
import { parseVmYaml } from '../machine-folder/vm-yaml.ts';
import { syncFolder } from '../sync-folder.ts';
import { digestOf, rememberDigest } from './file-digests.ts';
import { type ArrivingDisks, checkSpace } from './moved-disks.ts';
import { answerOf, type MovedFile, nameOf, placeOf, QUIET_MS } from './protocol.ts';
import { limitSilence } from './tls-link.ts';

/** Where files may be that it needs. */
export interface PresentFiles {
  /** Folders of machines that are here. */
  readonly folders: () => readonly MachineFolder[];
  /** The cache of images. */
  readonly cache?: string | undefined;
}

export interface WantedFiles extends PresentFiles {
  readonly files: readonly MovedFile[];
  readonly disks: ArrivingDisks;
  /** The trust label that the machine keeps. */
  readonly label: string | undefined;
}

/** Gets those files of its image that are not here, and makes its disks. */
export async function takeFiles(
  folder: MachineFolder,
  { files, disks, label, ...present }: WantedFiles,
  link: FrameLink,
  unwanted: AbortSignal,
): Promise<void> {
  const need: MovedFile[] = [];
  for (const file of files) if (!(await linked(file, folder, present))) need.push(file);
  await checkSpace(dirname(folder.path), disks.neededBytes + need.reduce((sum, { bytes }) => sum + bytes, 0));
  const kept = label === undefined ? {} : { label };
  await link.sendJson(FRAME.STEP, { need: need.map(nameOf), behind: disks.behind, ...kept });
  for (const file of need) await received(file, placeOf(folder, file), link, unwanted);
  await syncFolder(folder.image);
  await disks.make();
  if (label === undefined) return;
  // What its process may open is in the folder of its label.
  await checkFiles(folder, false);
  await machineDisks(folder, parseVmYaml(disks.yaml, 'its vm.yaml'), { mayLeadOutside: false });
}

/** Whether a machine here has the file already: then it is a link to it. */
async function linked(file: MovedFile, folder: MachineFolder, { folders, cache }: PresentFiles): Promise<boolean> {
  const { name, bytes, sha256 } = file;
  if (file.folder !== 'image') return false;
  const others = folders().filter(({ path }) => path !== folder.path);
  const cached = cache === undefined ? [] : await cachedImageFiles(cache, basename(name, extname(name)), sha256);
  for (const path of [...others.map(({ image }) => join(image, name)), ...cached]) {
    try {
      if ((await stat(path)).size !== bytes || (await digestOf(path)) !== sha256) continue;
      await linkFile(path, placeOf(folder, file));
      return true;
    } catch {
      // Another one may do.
    }
  }
  return false;
}

async function received(
  { bytes, sha256, name }: MovedFile,
  path: string,
  link: FrameLink,
  unwanted: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256');
  // Never into what is there: it may be a link to another machine's.
  const file = await open(path, 'wx', 0o600);
  try {
    for (let left = bytes; left > 0;) {
      unwanted.throwIfAborted();
      // What is said of work here meanwhile is no sign of life of theirs.
      limitSilence(link, QUIET_MS, 'heard');
      const { payload } = await answerOf(link, FRAME.DATA);
      limitSilence(link, 0);
      hash.update(payload);
      left -= payload.length;
      if (left < 0 || payload.length === 0)
        throw new HostError('protocol', `the file ${name} has another length than was said`);
      await file.writeFile(payload);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  if (hash.digest('hex') !== sha256) throw new HostError('protocol', `the file ${name} is not what was sent`);
  await rememberDigest(path, sha256);
}
