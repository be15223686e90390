/** The names in a folder as the host gives them, some at a time. */

import type { Dir, Dirent } from 'node:fs';
import { FILE_TYPE, type FolderList, type ListedName } from '@ringfence/core';
import { fileError } from './file-error.ts';

/** Names that come at once. */
export const LIST_CHUNK = 128;

export class SharedList implements FolderList {
  readonly #folder: Dir;
  /** Lets the descriptor go that `#folder` was opened through. */
  readonly #release: () => Promise<void>;

  constructor(folder: Dir, release: () => Promise<void>) {
    this.#folder = folder;
    this.#release = release;
  }

  async next(): Promise<readonly ListedName[] | undefined> {
    const names: ListedName[] = [];
    try {
      while (names.length < LIST_CHUNK) {
        const entry = (await this.#folder.read()) as Dirent<Buffer> | null;
        if (entry === null) break;
        names.push({ name: entry.name, type: typeOf(entry) });
      }
    } catch (error) {
      throw fileError(error);
    }
    return names.length === 0 ? undefined : names;
  }

  async close(): Promise<void> {
    try {
      await this.#folder.close();
    } finally {
      await this.#release();
    }
  }
}

function typeOf(entry: Dirent<Buffer>): number {
  if (entry.isFile()) return FILE_TYPE.file;
  if (entry.isDirectory()) return FILE_TYPE.folder;
  if (entry.isSymbolicLink()) return FILE_TYPE.link;
  if (entry.isFIFO()) return FILE_TYPE.fifo;
  if (entry.isSocket()) return FILE_TYPE.socket;
  if (entry.isCharacterDevice()) return FILE_TYPE.character;
  return entry.isBlockDevice() ? FILE_TYPE.block : 0;
}
