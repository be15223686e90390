/** Starts the process of a virtual machine: its name is taken, its socket handed over, and it runs on without who started it. */

import type { ChildProcess } from 'node:child_process';
import { closeSync, linkSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { connectTo, socketPath } from '../control/vm-folder.ts';
import type { HowStarted } from '../control/operations.ts';
import { errorOf } from '../control/wire.ts';
import { errnoOf, HostError, systemReason } from '../failure.ts';
import { letV8GiveWay } from '../machine/background-threads.ts';
import type { MachineConfig } from '../machine-folder/config.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import type { MachineDisks } from '../machine-folder/machine-files.ts';
import type { KeptPlace } from '../vm/kept-boot.ts';
import type { DomainMessage, GoMessage, ProcessMessage, StartMessage } from './messages.ts';
import { permissionOptions } from './permissions.ts';
import type { SpareProcess } from './spare.ts';
import { spawnProcess } from './spawn.ts';

/** How long a process may take until its machine runs. A slow host under load takes a tenth of it. */
export const START_TIMEOUT_MS = 60_000;
/** A machine goes on from a snapshot of its own instead of booting. */
export interface Restore {
  readonly snapshot: string;
  /** Called when it is ready to; it goes on when that has resolved. */
  readonly commit: () => Promise<void>;
}

/** A machine comes from another process. */
export interface Arriving {
  /** Resolves when all files of its folder are there; the process is only told then. */
  readonly arriving: Promise<void>;
  readonly absentDisks: StartMessage['absentDisks'];
}

/** Which of the two it is; neither of one that boots. */
export function howItBegins(from: Restore | Arriving | undefined): {
  readonly restore?: Restore;
  readonly coming?: Arriving;
} {
  if (from === undefined) return {};
  return 'snapshot' in from ? { restore: from } : { coming: from };
}

export interface StartedProcess {
  readonly pid: number;
  /** Undefined of one that was restored, or comes from elsewhere. */
  readonly how?: HowStarted | undefined;
}

/** What is different of how a machine is started. */
export interface StartHow {
  readonly from?: Restore | Arriving | undefined;
  /** What its vm.yaml says, as it was read just now. */
  readonly config?: MachineConfig | undefined;
  /** What one with `overcommit` may have of memory at first. */
  readonly poolBytes?: number | undefined;
  /** The process that it is to be in, where that may have all that it needs. */
  readonly spare?: SpareProcess | undefined;
  /** The kept boot that it goes on from, as long as that can be used. */
  readonly kept?: KeptPlace | undefined;
}

/**
 * Starts the machine under the name; resolves when it runs and listens. Rejects with `name-taken`, or with why it did not start, and nothing
 * is left of it then.
 */
export async function startProcess(
  sockets: string,
  name: string,
  id: string,
  folder: MachineFolder,
  disks: MachineDisks,
  { from, config, poolBytes, spare, kept }: StartHow,
): Promise<StartedProcess> {
  const { restore, coming } = howItBegins(from);
  const message: { -readonly [K in keyof StartMessage]: StartMessage[K] } = {
    kind: 'start',
    id,
    folder: folder.path,
    config,
    kept,
    disks: disks.specs,
    snapshot: restore?.snapshot,
    isArriving: coming !== undefined,
    absentDisks: coming?.absentDisks ?? {},
    poolBytes,
  };
  const child = (): ChildProcess => {
    mkdirSync(folder.snapshots, { recursive: true, mode: 0o700 });
    if (poolBytes !== undefined) mkdirSync(folder.memory, { recursive: true, mode: 0o700 });
    const used = spare?.use(folder, disks);
    if (used !== undefined) message.place = spare?.place;
    const where = { cwd: folder.path, log: folder.processLog, words: [name, id] };
    return used ?? spawnLogged(permissionOptions(folder, disks, keptFolders(kept)), where);
  };
  // One that waited for it was started before.
  const arriving = coming?.arriving ?? (spare === undefined ? undefined : Promise.resolve());
  try {
    return await launch({ sockets, name, mark: id.slice(0, 8), child, message, arriving, restore });
  } finally {
    // One that was not used is nobody's any more.
    spare?.end();
  }
}

/** What a process reads that goes on from the kept boot. */
export function keptFolders(kept: KeptPlace | undefined): string[] {
  return kept === undefined ? [] : [join(kept.folder, kept.key.name)];
}

/** What writes what it says to the file `log`, from its beginning. */
export function spawnLogged(
  permissions: readonly string[],
  { cwd, log: path, words }: { readonly cwd: string; readonly log: string; readonly words: readonly string[] },
): ChildProcess {
  const log = openSync(path, 'w', 0o600);
  try {
    return spawnProcess(permissions, { cwd, log, words });
  } finally {
    closeSync(log);
  }
}

export interface Launch {
  readonly sockets: string;
  /** By which its socket is found. */
  readonly name: string;
  /** Nobody else uses it meanwhile. */
  readonly mark: string;
  /** Called when the name is taken. */
  readonly child: () => ChildProcess;
  readonly message: StartMessage | DomainMessage;
  readonly arriving?: Promise<void> | undefined;
  readonly restore?: Restore | undefined;
}

/** Gives a process its socket, and waits until it listens there. */
export async function launch({
  sockets,
  name,
  mark,
  child: make,
  message,
  ...coming
}: Launch): Promise<StartedProcess> {
  // Who comes before the machine's process has the socket is let go, and not kept waiting for ever.
  const server = createServer((socket) => socket.destroy());
  // A name of its own until it has the machine's: what this process has bound goes when this process closes it.
  const first = join(sockets, `${mark}.new`);
  rmSync(first, { force: true });
  server.listen(first);
  await once(server, 'listening').catch((error: unknown) => {
    throw new HostError('unavailable', `the socket ${first} cannot be made: ${systemReason(error)}`, error);
  });
  let isNamed = false;
  let committed: Promise<void> | undefined;
  try {
    await takeName(sockets, first, name);
    isNamed = true;
    const child = make();
    try {
      const { arriving, restore } = coming;
      const commit = restore && ((): Promise<void> => (committed = restore.commit()));
      // The process has it from here on: this one would take some of its connections.
      const send = (): void => void child.send(message, server, () => server.close());
      const how = await started(child, send, arriving, commit);
      const { pid = 0 } = child;
      // It may not look at itself.
      letV8GiveWay(pid);
      return { pid, how };
    } catch (error) {
      child.kill('SIGKILL');
      // Whoever hears of the failure finds the machine the one or the other, and not on its way.
      await committed?.catch(() => undefined);
      throw error;
    } finally {
      if (child.connected) child.disconnect();
    }
  } catch (error) {
    if (isNamed) releaseName(sockets, name);
    throw error;
  } finally {
    server.close();
  }
}

function started(
  child: ChildProcess,
  send: () => void,
  arriving: Promise<void> | undefined,
  commit: Restore['commit'] | undefined,
): Promise<HowStarted | undefined> {
  return new Promise((resolve, reject) => {
    let patience: ReturnType<typeof setTimeout> | undefined;
    const over = (settle: () => void): void => {
      clearTimeout(patience);
      settle();
    };
    child.once('error', (error) =>
      over(() => reject(new HostError('unavailable', `its process cannot be started: ${systemReason(error)}`, error))),
    );
    child.once('exit', (code, signal) =>
      over(() => reject(new HostError('ended', `its process ended as it started (${signal ?? `exit code ${code}`})`))),
    );
    child.on('message', (message) => {
      const said = message as ProcessMessage;
      if (said.kind === 'restored') {
        const go: GoMessage = { kind: 'go' };
        commit?.().then(
          () => child.connected && child.send(go),
          (error: unknown) => over(() => reject(error)),
        );
        return;
      }
      over(() =>
        said.kind === 'failed'
          ? reject(errorOf(said.failure))
          : resolve(said.kind === 'started' ? said.how : undefined),
      );
    });
    const begin = (): void => {
      patience = setTimeout(
        () => reject(new HostError('timeout', `its process did not start within ${START_TIMEOUT_MS / 1000} s`)),
        START_TIMEOUT_MS,
      );
      send();
    };
    if (arriving === undefined) child.once('spawn', begin);
    else
      arriving.then(
        // Its end may have been told before anybody listened here.
        () =>
          child.connected ? begin() : over(() => reject(new HostError('ended', 'its process ended before it came'))),
        (error: unknown) => over(() => reject(error)),
      );
  });
}

/** Lets the socket at `path` be found by the name, too; rejects with `name-taken` when a machine that runs has it. */
export async function takeName(sockets: string, path: string, name: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      linkSync(path, socketPath(sockets, name));
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST' || attempt > 3)
        throw new HostError('unavailable', `the socket of "${name}" cannot be made: ${systemReason(error)}`, error);
    }
    // One that was left behind is gone after this.
    const other = await connectTo(sockets, name);
    other?.destroy();
    if (other !== undefined)
      throw new HostError('name-taken', `a virtual machine "${name}" runs already; choose another name`);
  }
}

export function releaseName(sockets: string, name: string): void {
  rmSync(socketPath(sockets, name), { force: true });
}
