/**
 * Transfers past the page cache of this computer (O_DIRECT, open(2)), for disks with cache=none. Linux demands whole blocks of the medium,
 * in the file and in memory: everything goes through buffers that begin at a block, and a block that is written in part is read first.
 *
 * The file's last block, where the file does not fill it, cannot be written so without making the file longer: it goes through the page
 * cache, which Linux keeps in step.
 */

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { BlockStoreError, IntervalLock, alignedBytes, vectorSlice } from '@ringfence/core';

/** A multiple of every medium's block. */
const BLOCK_BYTES = 4096;
const BUFFER_BYTES = 256 * 1024;
/** Transfers at once; others wait. */
const BUFFERS = 16;

export class DirectFile {
  readonly #file: FileHandle;
  /** Writers have their blocks alone: what is beside the bytes of one may be another's. */
  readonly #locks = new IntervalLock();
  readonly #free: Uint8Array[];
  readonly #waiting: ((buffer: Uint8Array) => void)[] = [];

  private constructor(file: FileHandle) {
    this.#file = file;
    const memory = alignedBytes(BUFFERS * BUFFER_BYTES);
    this.#free = Array.from({ length: BUFFERS }, (_, index) =>
      memory.subarray(index * BUFFER_BYTES, (index + 1) * BUFFER_BYTES),
    );
  }

  static async open(path: string, readOnly: boolean): Promise<DirectFile> {
    const { O_DIRECT } = constants as { readonly O_DIRECT?: number };
    const cannot = `Disk "${path}" cannot be used past the page cache: the file system does not do that; use another cache mode than none`;
    if (O_DIRECT === undefined) throw new BlockStoreError('unsupported', cannot);
    try {
      return new DirectFile(await open(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | O_DIRECT));
    } catch (error) {
      throw new BlockStoreError('unsupported', cannot, error);
    }
  }

  /** Fills the views, or as much of them as the file has; gives how much that was. */
  async read(offset: number, into: readonly Uint8Array[], bytes: number): Promise<number> {
    const parts = cut(offset, bytes).map(async ({ at, length }) => {
      const skip = at % BLOCK_BYTES;
      return this.#withBuffer(async (buffer) => {
        const { bytesRead } = await this.#file.read(buffer, 0, roundUp(skip + length), at - skip);
        const found = Math.max(0, Math.min(length, bytesRead - skip));
        let done = skip;
        for (const view of vectorSlice(into, at - offset, found)) {
          view.set(buffer.subarray(done, done + view.length));
          done += view.length;
        }
        return found;
      });
    });
    let total = 0;
    for (const found of await everyOne(parts)) total += found;
    return total;
  }

  /** Writes the views; where whole blocks would make the file longer than it should be, lets `cached` write them through the page cache. */
  async write(
    offset: number,
    from: readonly Uint8Array[],
    bytes: number,
    fileBytes: number,
    cached: () => Promise<void>,
  ): Promise<void> {
    if (roundUp(offset + bytes) > Math.max(fileBytes, offset + bytes)) {
      const unlock = await this.#lockBlocks(offset, bytes);
      await cached().finally(unlock);
      return;
    }
    await everyOne(
      cut(offset, bytes).map(({ at, length }) => this.#writePart(at, vectorSlice(from, at - offset, length), length)),
    );
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #writePart(at: number, from: readonly Uint8Array[], length: number): Promise<void> {
    const skip = at % BLOCK_BYTES;
    const whole = roundUp(skip + length);
    const unlock = await this.#lockBlocks(at, length);
    try {
      await this.#withBuffer(async (buffer) => {
        if (skip > 0 || whole > length) {
          const { bytesRead } = await this.#file.read(buffer, 0, whole, at - skip);
          buffer.fill(0, bytesRead, whole);
        }
        let done = skip;
        for (const view of from) {
          buffer.set(view, done);
          done += view.length;
        }
        for (let written = 0; written < whole;) {
          const { bytesWritten } = await this.#file.write(buffer, written, whole - written, at - skip + written);
          written += bytesWritten;
        }
      });
    } finally {
      unlock();
    }
  }

  #lockBlocks(at: number, bytes: number): Promise<() => void> {
    return this.#locks.acquire(Math.floor(at / BLOCK_BYTES), Math.floor((at + bytes - 1) / BLOCK_BYTES));
  }

  async #withBuffer<T>(work: (buffer: Uint8Array) => Promise<T>): Promise<T> {
    const buffer = this.#free.pop() ?? (await new Promise<Uint8Array>((resolve) => this.#waiting.push(resolve)));
    try {
      return await work(buffer);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(buffer);
      else next(buffer);
    }
  }
}

/** Parts of a range that fit a buffer with their blocks, and share no block. */
function cut(offset: number, bytes: number): { readonly at: number; readonly length: number }[] {
  const parts: { readonly at: number; readonly length: number }[] = [];
  for (let at = offset; at < offset + bytes;) {
    const length = Math.min(BUFFER_BYTES - (at % BLOCK_BYTES), offset + bytes - at);
    parts.push({ at, length });
    at += length;
  }
  return parts;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** What all of them gave, when all are over: buffers and views are in use until then. */
async function everyOne<T>(parts: readonly Promise<T>[]): Promise<T[]> {
  const ends = await Promise.allSettled(parts);
  return ends.map((end) => {
    if (end.status === 'rejected') throw end.reason;
    return end.value;
  });
}
