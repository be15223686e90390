/**
 * Who may use a disk file: one writer, or any number of readers. The lock is a transaction on an empty SQLite database beside the disk,
 * `.DISK.ringfence-lock`; the operating system holds it (fcntl), so it falls with the process however that ends, it keeps two machines
 * of one process apart too, and nobody has to judge whether it is stale.
 *
 * What it cannot do: keep out programs that do not know it (QEMU, mount); see a disk through two hard links as one; work on a file
 * system without locks. Where a reader may not create the file (a read-only medium), it goes without.
 *
 * INVARIANT: the file is never deleted, or two processes could hold locks on two files of the same name.
 */

import { basename, dirname, join } from 'node:path';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { BlockStoreError } from '@ringfence/core';

/** SQLite's primary result codes (SQLite, "Result and Error Codes"). */
const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_CANTOPEN = 14;

/** What locks need of databases. */
interface Databases {
  readonly open: (file: string) => DatabaseSync;
  readonly exec: (database: DatabaseSync, sql: string) => void;
  readonly read: (database: DatabaseSync, sql: string) => void;
  readonly close: (database: DatabaseSync) => void;
}

let held: Databases | undefined;

/** From then on disks are locked also where databases are taken out of the process (machine/withdrawal.ts); nobody but this file can get at them then. */
export function holdDatabases(): Databases {
  if (held !== undefined) return held;
  const Database = DatabaseSync;
  const { apply } = Reflect;
  const exec = methodOf(DatabaseSync.prototype, 'exec');
  const prepare = methodOf(DatabaseSync.prototype, 'prepare');
  const close = methodOf(DatabaseSync.prototype, 'close');
  const get = methodOf(StatementSync.prototype, 'get');
  held = {
    open: (file) => new Database(file, { timeout: 0 }),
    exec: (database, sql) => void apply(exec, database, [sql]),
    read: (database, sql) => void apply(get, apply(prepare, database, [sql]), []),
    close: (database) => void apply(close, database, []),
  };
  return held;
}

type Method = (...given: unknown[]) => unknown;

function methodOf<Name extends PropertyKey>(prototype: Readonly<Record<Name, unknown>>, name: Name): Method {
  return prototype[name] as Method;
}

export interface DiskLock {
  release(): void;
}

/** Where the lock of the disk at the absolute `realPath` is. */
export function diskLockPath(realPath: string): string {
  return join(dirname(realPath), `.${basename(realPath)}.ringfence-lock`);
}

/** Locks the disk at the absolute `realPath`, which the user calls `disk`; throws BlockStoreError when somebody else has it. */
export function lockDisk(realPath: string, disk: string, exclusive: boolean): DiskLock {
  const file = diskLockPath(realPath);
  const { exec, read, close } = holdDatabases();
  const database = openDatabase(file, disk, exclusive);
  if (database === undefined) return { release: () => {} };
  try {
    exec(database, exclusive ? 'BEGIN EXCLUSIVE' : 'BEGIN');
    // A deferred transaction takes its shared lock with the first read.
    if (!exclusive) read(database, 'SELECT count(*) FROM sqlite_schema');
  } catch (error) {
    close(database);
    throw cannotLock(file, disk, exclusive, error);
  }
  return { release: () => close(database) };
}

function openDatabase(file: string, disk: string, exclusive: boolean): DatabaseSync | undefined {
  try {
    return holdDatabases().open(file);
  } catch (error) {
    if (!exclusive && mayNotCreate(error)) return undefined;
    throw new BlockStoreError('unavailable', `Disk "${disk}" cannot be locked: ${file} cannot be created`, error);
  }
}

function cannotLock(file: string, disk: string, exclusive: boolean, error: unknown): BlockStoreError {
  switch (resultCode(error)) {
    case SQLITE_BUSY: {
      const what = exclusive ? 'is in use by another virtual machine' : 'is being written by another virtual machine';
      return new BlockStoreError('locked', `Disk "${disk}" ${what}`, error);
    }
    case SQLITE_READONLY:
      return new BlockStoreError(
        'unavailable',
        `Disk "${disk}" cannot be locked: ${file} belongs to somebody else`,
        error,
      );
    default: {
      const reason = error instanceof Error ? error.message : String(error);
      return new BlockStoreError('unavailable', `Disk "${disk}" cannot be locked: ${reason}`, error);
    }
  }
}

/** True when the folder, or Node's permission model, does not let us have the file. */
function mayNotCreate(error: unknown): boolean {
  if (resultCode(error) === SQLITE_CANTOPEN) return true;
  return error instanceof Error && 'code' in error && error.code === 'ERR_ACCESS_DENIED';
}

function resultCode(error: unknown): number | undefined {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined;
  return typeof code === 'number' ? code & 0xff : undefined;
}
