/** `ringfence disk`: makes disk images. */

import { open, unlink } from 'node:fs/promises';
import { dirname, isAbsolute, relative } from 'node:path';
import { BlockStoreError, createQcow2, openDisk, type NewQcow2 } from '@ringfence/core';
import { DiskFile, NodeImageFiles, systemReason } from '@ringfence/host';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { parseSize } from '@ringfence/core/sizes';

export interface CreateOptions {
  /** As it was typed: 10G. */
  readonly size?: string | undefined;
  readonly backing?: string | undefined;
  readonly backingFormat?: string | undefined;
}

/** Makes a qcow2 image, empty or in front of another; nothing is left half-made. */
export async function diskCreate(path: string, { size, backing, backingFormat }: CreateOptions): Promise<number> {
  const sizeBytes = size === undefined ? undefined : parseSize(size);
  if (size !== undefined && (sizeBytes === undefined || sizeBytes < 512))
    throw new CliError(`--size "${size}" is no size of a disk; write it like 512M or 10G`, EXIT.FAILED);
  if (backingFormat !== undefined && backingFormat !== 'raw' && backingFormat !== 'qcow2')
    throw new CliError(`--backing-format is raw or qcow2, not "${backingFormat}"`, EXIT.FAILED);
  const behind = backing === undefined ? undefined : await lookAt(backing, backingFormat);
  const bytes = sizeBytes ?? behind?.sizeBytes;
  if (bytes === undefined) throw new CliError('how large? give --size SIZE, or --backing FILE', EXIT.FAILED);
  const name = backing === undefined ? undefined : backingName(backing, path);
  const options: NewQcow2 = {
    sizeBytes: bytes,
    ...(behind === undefined || name === undefined ? {} : { backing: { name, format: behind.format } }),
  };
  const file = await DiskFile.create(path);
  try {
    await createQcow2(file, options);
    await file.close();
    await syncFolder(path);
  } catch (error) {
    await file.close().catch(() => {});
    await unlink(path).catch(() => {});
    throw error;
  }
  return EXIT.OK;
}

interface Behind {
  readonly sizeBytes: number;
  readonly format: 'raw' | 'qcow2';
}

/** Opens the image with all that stands behind it: what cannot be used is told now and not when a machine starts. */
async function lookAt(path: string, format: 'raw' | 'qcow2' | undefined): Promise<Behind> {
  try {
    const disk = await openDisk(new NodeImageFiles(), path, { format, readOnly: true });
    await disk.store.close();
    return { sizeBytes: disk.store.sizeBytes, format: disk.format };
  } catch (error) {
    throw error instanceof BlockStoreError ? new CliError(error.message, EXIT.FAILED, error) : error;
  }
}

/** As the new image's folder sees it, unless it is absolute: both can then be moved together. */
function backingName(backing: string, image: string): string {
  if (isAbsolute(backing)) return backing;
  const name = relative(dirname(image), backing);
  // What comes before a colon would be taken for a protocol.
  return name.includes(':') && !name.startsWith('.') ? `./${name}` : name;
}

/** The new name is durable, too. */
async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(dirname(path), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    throw new CliError(`"${path}" cannot be made durable: ${systemReason(error)}`, EXIT.FAILED, error);
  }
}
