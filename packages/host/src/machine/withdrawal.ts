/**
 * What Node's permission model does not hold back (Node 26, "Permissions"), taken out of this thread: the functions are removed from the objects that lead to
 * them, of which there is one each in a thread, so that no program in it finds them again. Like that model itself it holds for what runs as JavaScript, and
 * not for who writes to the process's memory at will.
 *
 *     databases   node:sqlite opens and writes any file of the user's (ATTACH, VACUUM INTO). What locks disks keeps what it needs for itself (disk-lock.ts)
 *     signals     to any process of the user's, and their priorities; whether a process is there can still be asked
 *     pipes       connections to sockets that are files: the daemon's, other machines', and whatever else listens at one
 */

import { syncBuiltinESMExports } from 'node:module';
import type { Server } from 'node:net';
import os from 'node:os';
import process from 'node:process';

const OF_PIPES = ['bind', 'listen', 'connect', 'open', 'fchmod'];
const OF_PROCESS = ['_kill', '_debugProcess', '_debugEnd'];

/** The one of the server is what sockets that are files are made of in this thread. Does nothing in a process without that model. */
export function withdraw(server?: Server): void {
  if (process.permission === undefined) return;
  withdrawDatabases();
  withdrawSignals();
  if (server !== undefined) withdrawPipes(server);
  syncBuiltinESMExports();
}

function withdrawDatabases(): void {
  const sqlite = process.getBuiltinModule('node:sqlite') as unknown as Record<string, unknown>;
  for (const each of Object.values(sqlite)) {
    if (typeof each !== 'function') continue;
    const prototype = each.prototype as object | undefined;
    if (prototype !== undefined) remove(prototype, () => true);
  }
  // Names that were imported stay when what they were imported from is removed, and follow it when it is another value.
  for (const key of Object.keys(sqlite)) sqlite[key] = undefined;
}

function withdrawSignals(): void {
  const raw = process as unknown as { _kill?: (pid: number, signal: number) => number };
  const { _kill: ask } = raw;
  // Taken out before.
  if (ask === undefined) return;
  process.kill = (pid, signal) => {
    if (signal !== 0) throw refused();
    // As libuv says it: a negative errno.
    const error = -ask(pid, 0);
    if (error !== 0)
      throw Object.assign(new Error('kill'), { code: error === os.constants.errno.ESRCH ? 'ESRCH' : 'EPERM' });
    return true;
  };
  remove(process, (key) => typeof key === 'string' && OF_PROCESS.includes(key));
  (os as { setPriority?: unknown }).setPriority = undefined;
}

function withdrawPipes(server: Server): void {
  const { _handle: handle } = server as unknown as { readonly _handle: object | null };
  const pipes: unknown = handle === null ? undefined : Object.getPrototypeOf(handle);
  if (typeof pipes !== 'object' || pipes === null) return;
  remove(pipes, (key) => typeof key === 'string' && OF_PIPES.includes(key));
}

function remove(from: object, isUnwanted: (key: PropertyKey) => boolean): void {
  for (const key of Reflect.ownKeys(from)) if (isUnwanted(key)) Reflect.deleteProperty(from, key);
}

/** In Node's own words. */
function refused(): Error {
  return Object.assign(new Error('Access to this API has been restricted.'), { code: 'ERR_ACCESS_DENIED' });
}
