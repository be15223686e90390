/**
 * A lock between processes. It is an exclusive transaction on an empty SQLite database: the operating system holds it (fcntl), so it
 * falls with the process that holds it, however that ends, and nobody has to guess whether a lock file is stale.
 *
 * INVARIANT: a lock's file is never deleted, or two processes could hold locks on two files of the same name.
 */

import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_INTERVAL_MS = 150;
/** SQLite's result codes (SQLite, "Result and Error Codes"). */
const SQLITE_BUSY = 5;

export interface Lock {
  /** Whether somebody else held the lock first. */
  readonly waited: boolean;
  release(): void;
}

/** Takes the lock, after whoever holds it. `onWait` is called once if that is somebody else. */
export async function takeLock(path: string, signal: AbortSignal | undefined, onWait: () => void): Promise<Lock> {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    let waited = false;
    while (!isTaken(database)) {
      if (!waited) onWait();
      waited = true;
      await sleep(POLL_INTERVAL_MS, undefined, signal === undefined ? {} : { signal });
    }
    return { waited, release: () => database.close() };
  } catch (error) {
    database.close();
    throw error;
  }
}

function isTaken(database: DatabaseSync): boolean {
  try {
    database.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return false;
    throw error;
  }
}
