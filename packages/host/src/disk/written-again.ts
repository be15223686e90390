/**
 * Makes a file durable where `fdatasync` may not be called: Node's permission model allows no process to call it (Node.js, "File System
 * Permissions", has it among what is switched off). What was written since the last flush is read, out of the page cache, and written again
 * through a descriptor with O_DSYNC, whose writes are durable when they return, with what is needed to find them (open(2)).
 *
 * Nobody may write a range while it is written again, or something newer would be undone: writes go through `writing`.
 */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import process from 'node:process';
import { IntervalLock, Sequence } from '@ringfence/core';
import { type Range, WrittenRanges } from './written-ranges.ts';

const CHUNK_BYTES = 1024 * 1024;
/** Chunks under way: as many as Node's threads take at a time. */
const LANES = 4;

export class WrittenAgain {
  readonly #file: FileHandle;
  readonly #written = new WrittenRanges();
  readonly #lock = new IntervalLock();
  readonly #flushes = new Sequence();

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Undefined where `fdatasync` may be called. */
  static async open(path: string, isNeeded = process.permission !== undefined): Promise<WrittenAgain | undefined> {
    if (!isNeeded) return undefined;
    return new WrittenAgain(await open(path, constants.O_RDWR | constants.O_DSYNC));
  }

  /** Runs `write`, which writes these bytes. */
  async writing(start: number, lengthBytes: number, write: () => Promise<void>): Promise<void> {
    const release = await this.#lock.acquire(start, start + lengthBytes - 1);
    try {
      await write();
    } finally {
      // A write that failed may have written something.
      this.#written.add(start, start + lengthBytes);
      release();
    }
  }

  /** Resolves when everything whose `writing` has resolved is durable. */
  flush(): Promise<void> {
    return this.#flushes.run(async () => {
      const chunks = this.#written.take().flatMap(chunksOf);
      const lane = async (): Promise<void> => {
        for (let chunk = chunks.pop(); chunk !== undefined; chunk = chunks.pop()) await this.#again(chunk);
      };
      await Promise.all(Array.from({ length: Math.min(LANES, chunks.length) }, lane));
    });
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #again({ start, end }: Range): Promise<void> {
    const release = await this.#lock.acquire(start, end - 1);
    try {
      const bytes = Buffer.allocUnsafe(end - start);
      let there = 0;
      while (there < bytes.length) {
        const { bytesRead } = await this.#file.read(bytes, there, bytes.length - there, start + there);
        // Behind the end of the file nothing was written.
        if (bytesRead === 0) break;
        there += bytesRead;
      }
      for (let done = 0; done < there;)
        done += (await this.#file.write(bytes, done, there - done, start + done)).bytesWritten;
    } finally {
      release();
    }
  }
}

function chunksOf({ start, end }: Range): Range[] {
  const count = Math.ceil((end - start) / CHUNK_BYTES);
  return Array.from({ length: count }, (_, index) => ({
    start: start + index * CHUNK_BYTES,
    end: Math.min(end, start + (index + 1) * CHUNK_BYTES),
  }));
}
