/**
 * Entries of a folder that a copy holds open. A guest that shares folders with this computer may put a link in the place of any name at
 * any time; a name that is looked up in an open folder cannot be led elsewhere by that (share/descriptor.ts). Where there is no
 * /proc/self/fd, names are looked up by their paths.
 */

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import process from 'node:process';
import { entryPath, selfPath } from '../share/descriptor.ts';

/** Opens a folder, and no link to one. */
export const HOLD_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

export interface HeldFolder {
  readonly handle: FileHandle;
  readonly path: Buffer;
}

/** The folder itself, as a path for system calls. */
export function placeOf({ handle, path }: HeldFolder): string | Buffer {
  return process.platform === 'linux' ? selfPath(handle.fd) : path;
}

/** An entry of the folder, as a path for system calls. Throws when `name` is not a single one. */
export function placeIn(folder: HeldFolder, name: Uint8Array): Buffer {
  const held = entryPath(folder.handle.fd, name);
  return process.platform === 'linux' ? held : pathIn(folder, name);
}

/** The same entry, as a path that means something to people. */
export function pathIn({ path }: Pick<HeldFolder, 'path'>, name: Uint8Array): Buffer {
  return Buffer.concat([path, Buffer.from('/'), name]);
}
