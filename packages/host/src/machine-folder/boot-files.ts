/**
 * What a machine boots, in its own folder: kernel, initial ramdisk and, of an image with a disk, the image that stands behind the system's
 * disk. They are links to the cache's files where they can be, so that a hundred machines take no more room than one; the cache replaces its
 * files and never changes them.
 */

import { constants } from 'node:fs';
import { copyFile, link, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { HostError, systemReason } from '../failure.ts';
import { openRegular } from '../regular-file.ts';
import type { BootableImage, GuestSettings } from '../vm/images.ts';
import type { MachineFolder } from './layout.ts';

const KERNEL = 'kernel';
const INITRD = 'initrd';
export const SYSTEM_DISK = 'disk.qcow2';
const DESCRIPTION = 'image.json';
/** Of one of the files; more is no kernel and no ramdisk. */
const MAXIMUM_FILE_BYTES = 1024 * 1024 * 1024;
/** Of the settings that a guest hears; user data of cloud-init is the largest part. */
const MAXIMUM_DESCRIPTION_BYTES = 4 * 1024 * 1024;

const description = z.object({
  suite: z.string(),
  kernelParameters: z.array(z.string()),
  consoleProgram: z.optional(z.array(z.string())),
  guestSettings: z.object({
    apt: z.optional(z.record(z.string(), z.string())),
    userData: z.optional(z.string()),
    metaData: z.optional(z.string()),
    networkConfig: z.optional(z.string()),
  }),
});

/** Puts the image into the folder. */
export async function placeBootFiles({ image }: MachineFolder, boot: BootableImage): Promise<void> {
  await mkdir(image, { recursive: true });
  await place(boot.kernel.name, join(image, KERNEL));
  await place(boot.initrd.name, join(image, INITRD));
  if (boot.diskPath !== undefined) await place(boot.diskPath, join(image, SYSTEM_DISK));
  const { suite, kernelParameters, consoleProgram, guestSettings } = boot;
  const text = JSON.stringify({ suite, kernelParameters, consoleProgram, guestSettings }, undefined, 2);
  await writeFile(join(image, DESCRIPTION), `${text}\n`, { mode: 0o600, flush: true });
}

async function place(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch {
    // Another file system, or one without links.
    await copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  }
}

/** The files of which the machine knows what it boots, and those that it boots. */
export function bootFilesOf({ image }: MachineFolder): {
  readonly description: string;
  readonly payloads: readonly string[];
} {
  return { description: join(image, DESCRIPTION), payloads: [join(image, KERNEL), join(image, INITRD)] };
}

/** The image out of the folder; throws `not-a-machine` when it is not there or cannot be understood. */
export async function loadBootFiles(folder: MachineFolder): Promise<BootableImage> {
  const { image } = folder;
  const described = await loadDescription(folder);
  return {
    ...described,
    kernel: { kind: 'kernel', name: join(image, KERNEL), bytes: await read(image, KERNEL) },
    initrd: { kind: 'initrd', name: join(image, INITRD), bytes: await read(image, INITRD) },
  };
}

/** The same without its files, for who does not boot it. */
export async function loadDescription({ image }: MachineFolder): Promise<Omit<BootableImage, 'kernel' | 'initrd'>> {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(await read(image, DESCRIPTION, MAXIMUM_DESCRIPTION_BYTES)).toString());
  } catch (error) {
    throw error instanceof HostError ? error : wrong(image, DESCRIPTION, 'is no JSON', error);
  }
  const checked = z.safeParse(description, json);
  if (!checked.success) throw wrong(image, DESCRIPTION, 'is not what it should be');
  const { guestSettings, consoleProgram, ...rest } = checked.data;
  return { ...rest, guestSettings: present(guestSettings), ...(consoleProgram ? { consoleProgram } : {}) };
}

/** Each in a buffer of its own, whose memory a machine gives back once it has loaded it. */
async function read(image: string, file: string, maximumBytes = MAXIMUM_FILE_BYTES): Promise<Uint8Array> {
  try {
    await using opened = await openRegular(join(image, file));
    const { size } = await opened.stat();
    if (size > maximumBytes) throw wrong(image, file, 'is too large');
    const bytes = new Uint8Array(size);
    const { bytesRead } = await opened.read(bytes, 0, size, 0);
    if (bytesRead < size) throw wrong(image, file, 'became shorter while it was read');
    return bytes;
  } catch (error) {
    if (error instanceof HostError) throw new HostError('not-a-machine', error.message, error);
    throw wrong(image, file, `cannot be read: ${systemReason(error)}`, error);
  }
}

function wrong(image: string, file: string, problem: string, cause?: unknown): HostError {
  return new HostError('not-a-machine', `${join(image, file)} ${problem}`, cause);
}

/** Without the fields that are undefined. */
function present({ apt, ...data }: z.infer<typeof description>['guestSettings']): GuestSettings {
  return { ...(apt === undefined ? {} : { apt }), ...data };
}
