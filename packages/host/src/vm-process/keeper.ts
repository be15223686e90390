/** Has a process boot an image for nobody, and keeps what has booted (keep-program.ts). */

import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { constants, devNull, setPriority } from 'node:os';
import { errorOf } from '../control/wire.ts';
import { HostError, systemReason } from '../failure.ts';
import { letV8GiveWay } from '../machine/background-threads.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import type { GoMessage, KeepMessage, MachineMake, ProcessMessage } from './messages.ts';
import { keeperPermissionOptions } from './permissions.ts';
import { spawnProcess } from './spawn.ts';

/** It boots once and goes on from that, behind whatever else is done. */
const KEEP_TIMEOUT_MS = 600_000;

/**
 * Boots what is in the machine's folder; `finish` makes the kept boot durable that lies at a path, and puts it into its place. Resolves when machines can go
 * on from it; rejects when it is not kept, or `signal` is aborted.
 */
export function keepBoot(
  make: MachineMake,
  folder: MachineFolder,
  finish: (path: string) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const child = spawned(make, folder);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const giveUp = (error: unknown): void => {
    reject(error);
    child.kill('SIGKILL');
  };
  const onAbort = (): void => giveUp(new HostError('aborted', 'it is not wanted any more'));
  const patience = setTimeout(
    () => giveUp(new HostError('timeout', `a boot was not kept within ${KEEP_TIMEOUT_MS / 1000} s`)),
    KEEP_TIMEOUT_MS,
  );
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  child.once('error', (error) =>
    giveUp(new HostError('unavailable', `a process cannot be started: ${systemReason(error)}`, error)),
  );
  child.once('exit', (code, how) => {
    if (code === 0) resolve();
    else reject(new HostError('ended', `the process that was to keep a boot ended (${how ?? `exit code ${code}`})`));
  });
  child.on('message', (said: ProcessMessage) => {
    if (said.kind === 'failed') giveUp(errorOf(said.failure));
    else if (said.kind === 'written')
      finish(said.path).then(() => void child.send({ kind: 'go' } satisfies GoMessage, () => undefined), giveUp);
  });
  const message: KeepMessage = { kind: 'keep', folder: folder.path, make };
  child.once('spawn', () => child.send(message, () => undefined));
  return promise.finally(() => {
    clearTimeout(patience);
    signal.removeEventListener('abort', onAbort);
  });
}

function spawned({ kept }: MachineMake, folder: MachineFolder): ChildProcess {
  mkdirSync(kept.folder, { recursive: true, mode: 0o700 });
  const log = openSync(devNull, 'w');
  try {
    const permissions = keeperPermissionOptions(folder, kept);
    const child = spawnProcess(permissions, { cwd: kept.folder, log, words: ['keeper'] });
    beLow(child.pid);
    return child;
  } finally {
    closeSync(log);
  }
}

/** Nobody waits for it. */
function beLow(pid: number | undefined): void {
  if (pid === undefined) return;
  letV8GiveWay(pid);
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // It has ended.
  }
}
