/**
 * The folder with one socket, NAME.sock, for each virtual machine that runs: `$XDG_RUNTIME_DIR/ringfence`, or `ringfence/run` in the
 * user's state folder (XDG Base Directory Specification). Nobody but its owner can enter it, and that is what protects the sockets.
 *
 * A process that was killed leaves its socket behind. Nobody listens there (ECONNREFUSED), which is how it is told from one in use; it
 * is removed by whoever wants the name or lists the machines, one at a time (a lock on the folder, as of disks).
 */

import { chmodSync, lstatSync, mkdirSync, readdirSync, unlinkSync } from 'node:fs';
import { connect, type Server, type Socket } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError, systemReason } from '../failure.ts';
import { isName } from '../vm/names.ts';

const SUFFIX = '.sock';
const LOCK = 'lock';
/** sockaddr_un.sun_path holds 108 bytes with its NUL on Linux, 104 elsewhere (unix(7)). */
const LONGEST_PATH_BYTES = process.platform === 'linux' ? 107 : 103;
/** Between binding a name and listening there is a moment in which nobody answers. */
const SECOND_LOOK_MS = 30;
/** How long the lock may be another's: it is held for a look at one socket. */
const LOCK_TIMEOUT_MS = 5000;
const LOCK_AGAIN_MS = 5;
/** SQLite, "Result and Error Codes". */
const SQLITE_BUSY = 5;

export type Environment = Readonly<Record<string, string | undefined>>;

/** The folder; made when it is not there. Throws a HostError when it is not the user's alone. */
export function vmFolder(env: Environment = process.env): string {
  const folder = folderPath(env);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = lstatSync(folder);
    const uid = process.geteuid?.();
    const problem = !found.isDirectory()
      ? 'it is no folder'
      : uid !== undefined && found.uid !== uid
        ? 'it belongs to somebody else'
        : uid !== undefined && (found.mode & 0o077) !== 0
          ? `others may enter it; mend that with: chmod 700 ${folder}`
          : undefined;
    if (problem !== undefined) throw new HostError('unavailable', `the folder ${folder} cannot be used: ${problem}`);
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new HostError('unavailable', `the folder ${folder} cannot be used: ${systemReason(error)}`, error);
  }
  return folder;
}

function folderPath(env: Environment): string {
  const runtime = env['XDG_RUNTIME_DIR'];
  if (runtime?.startsWith('/') === true) return join(runtime, 'ringfence');
  const state = env['XDG_STATE_HOME'];
  return join(
    state?.startsWith('/') === true ? state : join(env['HOME'] ?? homedir(), '.local/state'),
    'ringfence/run',
  );
}

/** Where the virtual machine of that name listens. */
export function socketPath(folder: string, name: string): string {
  const path = join(folder, name + SUFFIX);
  if (Buffer.byteLength(path) > LONGEST_PATH_BYTES)
    throw new HostError(
      'unavailable',
      `the socket ${path} has too long a path; set XDG_RUNTIME_DIR to a shorter one, such as /run/user/$(id -u)`,
    );
  return path;
}

/** The names there are sockets for, in order. */
export function namesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -SUFFIX.length))
    .filter(isName)
    .toSorted();
}

/** Lets `server` listen under the name; throws `name-taken` when a virtual machine has it. */
export async function listenAs(server: Server, folder: string, name: string): Promise<void> {
  const path = socketPath(folder, name);
  for (;;) {
    const error = await listening(server, path);
    if (error === undefined) {
      chmodSync(path, 0o600);
      return;
    }
    if (codeOf(error) !== 'EADDRINUSE')
      throw new HostError('unavailable', `the socket ${path} cannot be made: ${systemReason(error)}`, error);
    if (!(await removeStale(folder, name)))
      throw new HostError('name-taken', `there is a virtual machine "${name}" already; choose another name`);
  }
}

/** Connects with the machine of that name; undefined when there is none, and its socket is gone if one was left. */
export async function connectTo(folder: string, name: string): Promise<Socket | undefined> {
  const socket = await connected(socketPath(folder, name));
  if (socket !== 'refused') return socket;
  await removeStale(folder, name);
  return undefined;
}

/** Removes a socket that nobody listens at; false when somebody does. */
async function removeStale(folder: string, name: string): Promise<boolean> {
  const path = socketPath(folder, name);
  const release = await lockFolder(folder);
  try {
    for (const wait of [0, SECOND_LOOK_MS]) {
      if (wait > 0) await sleep(wait);
      const socket = await connected(path);
      if (socket === undefined) return true;
      if (socket === 'refused') continue;
      socket.destroy();
      return false;
    }
    unlinkSync(path);
    return true;
  } finally {
    release();
  }
}

/** undefined when there is no such socket; `refused` when nobody listens. */
function connected(path: string): Promise<Socket | 'refused' | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error) => {
      const code = codeOf(error);
      if (code === 'ENOENT') resolve(undefined);
      else if (code === 'ECONNREFUSED') resolve('refused');
      else reject(new HostError('unavailable', `the socket ${path} cannot be used: ${systemReason(error)}`, error));
    });
  });
}

function listening(server: Server, path: string): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const onError = (error: Error): void => {
      server.off('listening', onListening);
      resolve(error);
    };
    const onListening = (): void => {
      server.off('error', onError);
      resolve(undefined);
    };
    server.once('error', onError);
    server.once('listening', onListening);
    server.listen(path);
  });
}

/** As disks are locked: by a transaction that the operating system ends with the process. Looks again and again, for it may be this process's own. */
async function lockFolder(folder: string): Promise<() => void> {
  const { DatabaseSync } = await import('node:sqlite');
  const path = join(folder, LOCK);
  const until = performance.now() + LOCK_TIMEOUT_MS;
  for (;;) {
    try {
      const database = new DatabaseSync(path, { timeout: 0 });
      try {
        database.exec('BEGIN EXCLUSIVE');
        return () => database.close();
      } catch (error) {
        database.close();
        throw error;
      }
    } catch (error) {
      const isTaken = error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;
      if (!isTaken || performance.now() > until)
        throw new HostError('unavailable', `the folder ${folder} cannot be locked: ${systemReason(error)}`, error);
      await sleep(LOCK_AGAIN_MS);
    }
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
