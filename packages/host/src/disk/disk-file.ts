/**
 * A disk image's file on this computer (port ImageFile of core). Reads and writes go by position, many at a time, straight from and to
 * guest memory; a flush is fdatasync. What the page cache answers is done at once (page-cache-pace.ts). The file is locked (disk-lock.ts) while it is open.
 */

import { constants, readvSync, writevSync } from 'node:fs';
import { access, open, realpath, stat, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { BlockStoreError, vectorAfter, vectorBytes, vectorSlice } from '@ringfence/core';
import type { ImageFile } from '@ringfence/core';
import { DirectFile } from './direct-file.ts';
import { lockDisk } from './disk-lock.ts';
import type { DiskLock } from './disk-lock.ts';
import { HolePuncher } from './hole-puncher.ts';
import { PageCachePace } from './page-cache-pace.ts';
import { WrittenAgain } from './written-again.ts';

export interface DiskFileOptions {
  readonly readOnly: boolean;
  /**
   * `unsafe` does not wait for the disk of this computer: what a flush promised is kept when this process is killed, not when the power
   * goes. `none` goes past the page cache.
   */
  readonly cache?: 'unsafe' | 'none' | undefined;
}

export class DiskFile implements ImageFile {
  /** As the user gave it. */
  readonly name: string;
  readonly readOnly: boolean;
  readonly punchHole: ImageFile['punchHole'];
  readonly #file: FileHandle;
  readonly #lock: DiskLock;
  readonly #direct: DirectFile | undefined;
  /** What makes it durable where fdatasync may not be called. */
  readonly #again: WrittenAgain | undefined;
  readonly #unsafe: boolean;
  readonly #holes = new HolePuncher();
  readonly #reading = new PageCachePace();
  readonly #writing = new PageCachePace();
  #sizeBytes: number;
  /** Why nothing can be made durable any more: after a failed fdatasync the kernel has forgotten what it could not write. */
  #flushFailure: BlockStoreError | undefined;

  private constructor(parts: {
    readonly name: string;
    readonly sizeBytes: number;
    readonly file: FileHandle;
    readonly lock: DiskLock;
    readonly direct?: DirectFile | undefined;
    readonly again?: WrittenAgain | undefined;
    readonly options: DiskFileOptions;
  }) {
    this.name = parts.name;
    this.readOnly = parts.options.readOnly;
    this.#unsafe = parts.options.cache === 'unsafe';
    this.#direct = parts.direct;
    this.#again = parts.again;
    this.#sizeBytes = parts.sizeBytes;
    this.#file = parts.file;
    this.#lock = parts.lock;
    this.punchHole =
      this.readOnly || !HolePuncher.isPossible
        ? undefined
        : (offsetBytes, bytes) => this.#holes.punch(this.#file.fd, offsetBytes, bytes);
  }

  /** Opens and locks the file; rejects with a BlockStoreError whose message is a sentence about it. */
  static async open(path: string, options: DiskFileOptions): Promise<DiskFile> {
    const { readOnly } = options;
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
      if (size === 0) throw new BlockStoreError('unavailable', `Disk "${path}" is empty`);
      const lock = lockDisk(await realpath(path), path, !readOnly);
      try {
        const direct = options.cache === 'none' ? await DirectFile.open(path, readOnly) : undefined;
        const again = readOnly || options.cache === 'unsafe' ? undefined : await WrittenAgain.open(path);
        return new DiskFile({ name: path, sizeBytes: size, file, lock, direct, again, options });
      } catch (error) {
        lock.release();
        throw error;
      }
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Makes an empty file at `path`, where there is none, and locks it. */
  static async create(path: string): Promise<DiskFile> {
    const file = await open(path, 'wx+').catch((error: unknown) => {
      if (codeOf(error) === 'EEXIST') throw new BlockStoreError('unavailable', `Disk "${path}" exists already`, error);
      throw new BlockStoreError('unavailable', `Disk "${path}" cannot be made: ${messageOf(error)}`, error);
    });
    try {
      const lock = lockDisk(await realpath(path), path, true);
      return new DiskFile({ name: path, sizeBytes: 0, file, lock, options: { readOnly: false } });
    } catch (error) {
      await file.close();
      await unlink(path).catch(() => {});
      throw error;
    }
  }

  /** Makes an empty file at `path` that nobody else opens before it is whole; who puts it into its place makes it durable. */
  static async fresh(path: string): Promise<DiskFile> {
    const file = await open(path, 'wx+', 0o600).catch((error: unknown) => {
      throw new BlockStoreError('unavailable', `Disk "${path}" cannot be made: ${messageOf(error)}`, error);
    });
    const lock = { release: () => {} };
    return new DiskFile({ name: path, sizeBytes: 0, file, lock, options: { readOnly: false, cache: 'unsafe' } });
  }

  /** Makes an empty file that nobody else sees and that is gone when it is closed, however this process ends. */
  static async temporary(path: string, name: string): Promise<DiskFile> {
    const file = await open(path, 'wx+', 0o600).catch((error: unknown) => {
      throw new BlockStoreError('unavailable', `Disk "${name}" cannot be made: ${messageOf(error)}`, error);
    });
    try {
      await unlink(path);
    } catch (error) {
      await file.close();
      throw new BlockStoreError('unavailable', `Disk "${name}" cannot be made: ${messageOf(error)}`, error);
    }
    const lock = { release: () => {} };
    // What is gone anyway need not be durable.
    return new DiskFile({ name, sizeBytes: 0, file, lock, options: { readOnly: false, cache: 'unsafe' } });
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    const length = vectorBytes(into);
    const there = Math.max(0, Math.min(length, this.#sizeBytes - offsetBytes));
    const views = there === length ? into : vectorSlice(into, 0, there);
    for (const view of vectorSlice(into, there, length - there)) view.fill(0);
    try {
      if (this.#direct !== undefined) {
        if ((await this.#direct.read(offsetBytes, views, there)) < there) throw this.#shorter();
        return;
      }
      for (let done = 0; done < there;) {
        const rest = vectorAfter(views, done);
        const bytesRead = this.#reading.isQuick(there)
          ? this.#reading.make(() => readvSync(this.#file.fd, rest, offsetBytes + done))
          : (await this.#file.readv(rest, offsetBytes + done)).bytesRead;
        if (bytesRead === 0) throw this.#shorter();
        done += bytesRead;
      }
    } catch (error) {
      throw this.#failed('read', error);
    }
  }

  async write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    const length = vectorBytes(from);
    if (length === 0) return;
    const cached = (): Promise<void> => this.#writeCached(offsetBytes, from, length);
    const direct = this.#direct;
    const write =
      direct === undefined ? cached : () => direct.write(offsetBytes, from, length, this.#sizeBytes, cached);
    try {
      await (this.#again === undefined ? write() : this.#again.writing(offsetBytes, length, write));
      this.#sizeBytes = Math.max(this.#sizeBytes, offsetBytes + length);
    } catch (error) {
      // Some of it may be there; what is behind the end must be known to be zero.
      const { size } = await this.#file.stat().catch(() => ({ size: 0 }));
      this.#sizeBytes = Math.max(this.#sizeBytes, size);
      throw this.#failed('written', error);
    }
  }

  async #writeCached(offsetBytes: number, from: readonly Uint8Array[], length: number): Promise<void> {
    for (let done = 0; done < length;) {
      const rest = vectorAfter(from, done);
      done += this.#writing.isQuick(length)
        ? this.#writing.make(() => writevSync(this.#file.fd, rest, offsetBytes + done))
        : (await this.#file.writev(rest, offsetBytes + done)).bytesWritten;
    }
  }

  async flush(): Promise<void> {
    // What was opened for reading has nothing to make durable.
    if (this.readOnly || this.#unsafe) return;
    if (this.#flushFailure !== undefined) throw this.#flushFailure;
    try {
      await (this.#again === undefined ? this.#file.datasync() : this.#again.flush());
    } catch (error) {
      this.#flushFailure = this.#failed('written', error);
      throw this.#flushFailure;
    }
  }

  /** Waits for what is under way, and lets others have the file. */
  async close(): Promise<void> {
    try {
      await this.#holes.close();
      await Promise.all([this.#file.close(), this.#direct?.close(), this.#again?.close()]);
    } finally {
      this.#lock.release();
    }
  }

  #shorter(): BlockStoreError {
    return new BlockStoreError('io', `Disk "${this.name}" has become shorter while it was in use`);
  }

  #failed(what: 'read' | 'written', error: unknown): BlockStoreError {
    if (error instanceof BlockStoreError) return error;
    const code = codeOf(error);
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      return new BlockStoreError(
        'full',
        `Disk "${this.name}" cannot be written: there is no space left for it on this computer`,
        error,
      );
    }
    return new BlockStoreError('io', `Disk "${this.name}" cannot be ${what}: ${messageOf(error)}`, error);
  }
}

/** The same for the same file, by whatever path it goes; rejects with a BlockStoreError. */
export async function fileIdentity(path: string): Promise<string> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    throw cannotOpen(path, error);
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
