/**
 * A raw disk image in a file: byte n of the disk is byte n of the file. Reads and writes go by position, many at a time, straight from
 * and to guest memory; a flush is fdatasync. The file is locked (disk-lock.ts) while it is open.
 */

import { constants } from 'node:fs';
import { access, open, realpath, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { BlockStoreError, vectorAfter, vectorBytes } from '@ringfence/core';
import type { BlockStore } from '@ringfence/core';
import { lockDisk } from './disk-lock.ts';
import type { DiskLock } from './disk-lock.ts';

/** Disks are made of sectors of this size. */
const SECTOR_BYTES = 512;

export class FileBlockStore implements BlockStore {
  /** As the user gave it. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** What the user should know about the disk, as a sentence; undefined when there is nothing. */
  readonly note: string | undefined;
  readonly #file: FileHandle;
  readonly #lock: DiskLock;

  private constructor(path: string, fileBytes: number, readOnly: boolean, file: FileHandle, lock: DiskLock) {
    const rest = fileBytes % SECTOR_BYTES;
    this.path = path;
    this.sizeBytes = fileBytes - rest;
    this.readOnly = readOnly;
    this.#file = file;
    this.#lock = lock;
    if (rest > 0) {
      const length = `${fileBytes} bytes long, which is no whole number of sectors of ${SECTOR_BYTES}`;
      this.note = `Disk "${path}" is ${length}; the guest does not see the last ${rest} bytes`;
    }
  }

  /** Opens and locks the disk; rejects with a BlockStoreError whose message is a sentence about it. */
  static async open(path: string, { readOnly }: { readonly readOnly: boolean }): Promise<FileBlockStore> {
    // Looked at before it is opened: opening a pipe would wait for its other end.
    const info = await stat(path).catch((error: unknown) => {
      throw cannotOpen(path, error);
    });
    if (info.isDirectory()) throw new BlockStoreError('unavailable', `Disk "${path}" is a directory`);
    if (!info.isFile()) throw new BlockStoreError('unavailable', `Disk "${path}" is not a regular file`);
    const file = await open(path, readOnly ? 'r' : 'r+').catch(async (error: unknown) => {
      throw readOnly ? cannotOpen(path, error) : await cannotOpenForWriting(path, error);
    });
    try {
      const { size } = await file.stat();
      if (size < SECTOR_BYTES)
        throw new BlockStoreError(
          'unavailable',
          `Disk "${path}" has no room for a single sector of ${SECTOR_BYTES} bytes`,
        );
      const lock = lockDisk(await realpath(path), path, !readOnly);
      return new FileBlockStore(path, size, readOnly, file, lock);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    const length = vectorBytes(into);
    try {
      for (let done = 0; done < length;) {
        const { bytesRead } = await this.#file.readv(vectorAfter(into, done), offsetBytes + done);
        if (bytesRead === 0)
          throw new BlockStoreError('io', `Disk "${this.path}" has become shorter while it was in use`);
        done += bytesRead;
      }
    } catch (error) {
      throw this.#failed('read', error);
    }
  }

  async write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    const length = vectorBytes(from);
    try {
      for (let done = 0; done < length;) {
        const { bytesWritten } = await this.#file.writev(vectorAfter(from, done), offsetBytes + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw this.#failed('written', error);
    }
  }

  async flush(): Promise<void> {
    // What was opened for reading has nothing to make durable.
    if (this.readOnly) return;
    try {
      await this.#file.datasync();
    } catch (error) {
      throw this.#failed('written', error);
    }
  }

  /** Waits for what is under way, and lets others have the disk. */
  async close(): Promise<void> {
    try {
      await this.#file.close();
    } finally {
      this.#lock.release();
    }
  }

  #failed(what: 'read' | 'written', error: unknown): BlockStoreError {
    if (error instanceof BlockStoreError) return error;
    const code = codeOf(error);
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      return new BlockStoreError(
        'full',
        `Disk "${this.path}" cannot be written: there is no space left for it on this computer`,
        error,
      );
    }
    return new BlockStoreError('io', `Disk "${this.path}" cannot be ${what}: ${messageOf(error)}`, error);
  }
}

function cannotOpen(path: string, error: unknown): BlockStoreError {
  switch (codeOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new BlockStoreError('unavailable', `Disk "${path}" does not exist`, error);
    case 'EACCES':
    case 'EPERM':
    case 'ERR_ACCESS_DENIED':
      return new BlockStoreError('unavailable', `Disk "${path}" cannot be read: permission denied`, error);
    default:
      return new BlockStoreError('unavailable', `Disk "${path}" cannot be opened: ${messageOf(error)}`, error);
  }
}

/** A disk that could be read but not written is worth another sentence. */
async function cannotOpenForWriting(path: string, error: unknown): Promise<BlockStoreError> {
  const code = codeOf(error);
  if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS' && code !== 'ERR_ACCESS_DENIED')
    return cannotOpen(path, error);
  try {
    await access(path, constants.R_OK);
    return new BlockStoreError('unavailable', `Disk "${path}" is read-only`, error);
  } catch (unreadable) {
    return cannotOpen(path, unreadable);
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
