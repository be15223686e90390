/**
 * Files that may not be what they are called, in folders that came from elsewhere. A pipe that is opened is waited for until somebody writes, in one of
 * the few threads that open files, or in the only one that does everything: here it is opened without waiting (O_NONBLOCK, open(2)) and refused.
 */

import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { errnoOf, HostError } from './failure.ts';

const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** Of a file that holds a few fields. */
export const MAXIMUM_NOTE_BYTES = 1024 * 1024;

/** Opens it for reading; rejects with what the system says, or with `unavailable` when it is no file. */
export async function openRegular(path: string): Promise<FileHandle> {
  const file = await open(path, FLAGS);
  try {
    checkRegular(path, await file.stat());
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** As `openRegular`; gives its descriptor. */
export function openRegularSync(path: string): number {
  const fd = openSync(path, FLAGS);
  try {
    checkRegular(path, fstatSync(fd));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** All of a text that is not longer than so many bytes; rejects with `unavailable` when it is. */
export async function readRegular(path: string, maximumBytes = MAXIMUM_NOTE_BYTES): Promise<string> {
  await using file = await openRegular(path);
  checkSize(path, await file.stat(), maximumBytes);
  return await file.readFile('utf8');
}

/** As `readRegular`. */
export function readRegularSync(path: string, maximumBytes = MAXIMUM_NOTE_BYTES): string {
  const fd = openRegularSync(path);
  try {
    checkSize(path, fstatSync(fd), maximumBytes);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

/** Whether there is no file, which what the system says of one that it cannot read now does not mean. */
export function isAbsent(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENOTDIR';
}

function checkRegular(path: string, found: { isFile(): boolean }): void {
  if (!found.isFile()) throw new HostError('unavailable', `${path} is no regular file`);
}

function checkSize(path: string, { size }: { readonly size: number }, maximumBytes: number): void {
  if (size > maximumBytes)
    throw new HostError('unavailable', `${path} has ${size} bytes, and may have ${maximumBytes}`);
}
