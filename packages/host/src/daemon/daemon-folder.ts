/**
 * Where the daemon is reached and what it keeps.
 *
 *     $XDG_RUNTIME_DIR/ringfence/host/api.sock          the socket, in a folder that is its owner's alone
 *     $XDG_STATE_HOME/ringfence/host/                   state.db, daemon.log, machines/, lock
 *
 * The lock says that a daemon has this state: a transaction on an empty SQLite database, which falls with the process.
 */

import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { type Environment, vmFolder } from '../control/vm-folder.ts';
import { HostError, systemReason } from '../failure.ts';

const SOCKET_FOLDER = 'host';
const SOCKET = 'api.sock';

/** The daemon's socket, for who asks it; its folder need not be there. */
export function daemonSocket(env: Environment = process.env): string {
  return join(vmFolder(env), SOCKET_FOLDER, SOCKET);
}

export function defaultStateFolder(env: Environment = process.env): string {
  const state = env['XDG_STATE_HOME'];
  return join(
    state?.startsWith('/') === true ? state : join(env['HOME'] ?? homedir(), '.local/state'),
    'ringfence/host',
  );
}

/** Makes a folder that is this user's alone; throws `unavailable` when it is not. */
export function privateFolder(path: string): string {
  const folder = resolve(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new HostError('unavailable', `the folder ${folder} cannot be used: ${systemReason(error)}`, error);
  }
  const problem = guardProblem(folder);
  if (problem !== undefined) throw new HostError('unavailable', `the folder ${folder} cannot be used: ${problem}`);
  return folder;
}

/** Why others than its owner may reach it; undefined when they may not. */
export function guardProblem(path: string): string | undefined {
  const uid = process.geteuid?.();
  if (uid === undefined) return undefined;
  try {
    const found = lstatSync(path);
    if (found.isSymbolicLink()) return 'it is a link';
    if (found.uid !== uid) return 'it belongs to somebody else';
    if ((found.mode & 0o077) !== 0) return `others may reach it; mend that with: chmod go= ${path}`;
    return undefined;
  } catch (error) {
    return systemReason(error);
  }
}

/** The socket that is listened on is its owner's alone from its first moment: nobody else can enter its folder. */
export function closeToOthers(socket: string): void {
  chmodSync(socket, 0o600);
}

/** Throws `unavailable` when another daemon has the state; falls with the process. */
export function lockState(folder: string): { release(): void } {
  try {
    const database = new DatabaseSync(join(folder, 'lock'), { timeout: 0 });
    try {
      database.exec('BEGIN EXCLUSIVE');
    } catch (error) {
      database.close();
      throw error;
    }
    return { release: () => database.close() };
  } catch (error) {
    throw new HostError('unavailable', `a daemon with the state in ${folder} runs already`, error);
  }
}
