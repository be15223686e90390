/**
 * That a machine that came is this computer's (docs/migration.md, "Whose it is"): one durable write, by its process, before it runs. Who refuses a machine says
 * that it never will be here, and so nothing may say that it is.
 */

import { closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs';
import { MigrationError } from '@ringfence/core';
import { errnoOf } from '../failure.ts';

/** `fsync` is not for processes under Node's permission model: each write is durable when it returns (open(2), O_DSYNC). */
const FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_DSYNC;

/**
 * Writes it; throws what the system says where nothing says it then, and a MigrationError, `lost`, where it may be read all the same: the other side asks the
 * daemon here, which looks. A file that cannot be opened is what it was: empty.
 */
export function writeArrived(path: string, migration: string, write: typeof writeSync = writeSync): void {
  const file = openSync(path, FLAGS, 0o600);
  try {
    try {
      write(file, JSON.stringify({ migration }));
    } catch (error) {
      takeBack(file, error, write);
      throw error;
    }
  } finally {
    closeQuietly(file);
  }
}

/** Of what did not find room nothing is on the disk; of what failed otherwise all may be, until it is durable that it is not. */
function takeBack(file: number, error: unknown, write: typeof writeSync): void {
  try {
    ftruncateSync(file, 0);
    const errno = errnoOf(error);
    if (errno !== 'ENOSPC' && errno !== 'EDQUOT') write(file, '\n', 0);
  } catch {
    throw new MigrationError('lost', 'it cannot be kept whose the machine is', { cause: error });
  }
}

/** What was written is durable by then. */
function closeQuietly(file: number): void {
  try {
    closeSync(file);
  } catch {
    // It is closed all the same: close(2).
  }
}
