/**
 * A file of pages that have no place in memory (core's PagingFile), of one memory domain and without a name: it is gone when its process is. Reads and
 * writes are synchronous, for a machine waits in the middle of an instruction until its page is there.
 */

import { closeSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { MAXIMUM_AWAY_PAGES, type PagingFile as CorePagingFile } from '@ringfence/core';
import { HostError, systemReason } from '../failure.ts';

const PAGE_BYTES = 4096;
/** More pages than a domain can put away would never be used. */
export const MAXIMUM_PAGING_BYTES: number = MAXIMUM_AWAY_PAGES * PAGE_BYTES;

export class PagingFile implements CorePagingFile {
  readonly pages: number;
  readonly #folder: string;
  #file: number | undefined;

  private constructor(folder: string, file: number, pages: number) {
    this.#folder = folder;
    this.#file = file;
    this.pages = pages;
  }

  /** Throws a HostError when there can be none in `folder`. */
  static create(folder: string, sizeBytes: number): PagingFile {
    const path = join(folder, `ringfence-paging-${randomBytes(8).toString('hex')}`);
    try {
      const file = openSync(path, 'wx+', 0o600);
      unlinkSync(path);
      return new PagingFile(folder, file, Math.floor(sizeBytes / PAGE_BYTES));
    } catch (error) {
      throw new HostError('unavailable', `there can be no paging file in "${folder}": ${systemReason(error)}`, error);
    }
  }

  write(page: number, bytes: Uint8Array): void {
    this.#whole('written to', (file) => writeSync(file, bytes, 0, PAGE_BYTES, page * PAGE_BYTES));
  }

  read(page: number, into: Uint8Array): void {
    this.#whole('read from', (file) => readSync(file, into, 0, PAGE_BYTES, page * PAGE_BYTES));
  }

  /** What it holds is not needed any more. */
  close(): void {
    if (this.#file === undefined) return;
    // Others may still have it open: a process that was forked just now.
    ftruncateSync(this.#file, 0);
    closeSync(this.#file);
    this.#file = undefined;
  }

  #whole(what: string, work: (file: number) => number): void {
    let reason = 'it is closed';
    if (this.#file !== undefined) {
      try {
        if (work(this.#file) === PAGE_BYTES) return;
        reason = 'a page is not all there';
      } catch (error) {
        reason = systemReason(error);
        throw new HostError(
          'unavailable',
          `a page cannot be ${what} the paging file in "${this.#folder}": ${reason}`,
          error,
        );
      }
    }
    throw new HostError('unavailable', `a page cannot be ${what} the paging file in "${this.#folder}": ${reason}`);
  }
}
