/** A disk of a new machine: an empty qcow2 image, or one in front of an image that stays as it is. */

import { BlockStoreError, createQcow2, type NewQcow2, openDisk } from '@ringfence/core';
import { parseSize } from '@ringfence/core/sizes';
import { dirname, isAbsolute, resolve } from 'node:path';
import { DiskFile } from '../disk/disk-file.ts';
import { NodeImageFiles } from '../disk/disks.ts';
import { HostError } from '../failure.ts';
import { nodeClusterDecompressor } from '../machine/ports.ts';

const SMALLEST_BYTES = 512;
const LARGEST_BYTES = 64 * 2 ** 40;

export interface DiskWish {
  readonly size?: string | undefined;
  /** Absolute, or as the new image's folder sees it. */
  readonly backing?: string | undefined;
}

/** Checks what can be checked before anything is made; throws `bad-argument`. */
export function checkDisk({ size, backing }: DiskWish): void {
  if (size === undefined && backing === undefined)
    throw new HostError('bad-argument', 'a disk needs a size like 10G, or an image to stand behind it');
  if (backing !== undefined && !isAbsolute(backing))
    throw new HostError('bad-argument', `the image "${backing}" of a disk is no absolute path`);
  if (size !== undefined) sizeOf(size);
}

/** Makes it; all or nothing, and nothing is there yet at `path`. */
export async function newDisk(path: string, { size, backing }: DiskWish): Promise<void> {
  try {
    const behind = backing === undefined ? undefined : await lookAt(resolve(dirname(path), backing));
    const options: NewQcow2 = {
      sizeBytes: size === undefined ? (behind?.sizeBytes ?? 0) : sizeOf(size),
      ...(behind === undefined || backing === undefined ? {} : { backing: { name: backing, format: behind.format } }),
    };
    await newQcow2(path, options);
  } catch (error) {
    throw asHostError(error);
  }
}

/** Makes an empty qcow2 image, of which what stands behind it is known already. */
export async function newQcow2(path: string, options: NewQcow2): Promise<void> {
  try {
    const file = await DiskFile.create(path);
    try {
      await createQcow2(file, options);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw asHostError(error);
  }
}

function asHostError(error: unknown): unknown {
  if (!(error instanceof BlockStoreError)) return error;
  return new HostError(error.code === 'full' ? 'no-space' : 'unavailable', error.message, error);
}

function sizeOf(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined || bytes < SMALLEST_BYTES || bytes > LARGEST_BYTES)
    throw new HostError('bad-argument', `"${text}" is no size of a disk; write it like 512M or 10G`);
  return bytes;
}

/** Opens the image with all that stands behind it: what cannot be used is told now and not when the machine starts. */
async function lookAt(path: string): Promise<{ readonly sizeBytes: number; readonly format: 'raw' | 'qcow2' }> {
  const { store, format } = await openDisk(new NodeImageFiles(), path, {
    readOnly: true,
    decompress: nodeClusterDecompressor,
  });
  await store.close();
  return { sizeBytes: store.sizeBytes, format };
}
