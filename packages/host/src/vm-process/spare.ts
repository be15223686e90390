/**
 * A process that waits to become a machine's: started, with all that it executes first compiled, before anybody waits for it. One is for a machine that
 * comes from another daemon, one for a machine that goes on from a kept boot; that has its memory already (vm/parked.ts). What it may have of this computer
 * was said when it was started (permissions.ts): a folder that is there only when it is used, and is the machine's then, or a place that leads to the
 * machine's folder then (places.ts). A machine that needs more of this computer than its folder gets a process of its own.
 *
 *     spawn -- SpareMessage --> warms up -- ready --> waits -- StartMessage, as any other
 *
 * It ends with the daemon, or when its daemon is gone. What it says goes to a file of its own, which becomes the machine's log when it is used; of those that
 * ended before, what the last one said is left.
 */

import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { letV8GiveWay } from '../machine/background-threads.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import type { MachineDisks } from '../machine-folder/machine-files.ts';
import type { ProcessMessage, SpareMessage } from './messages.ts';
import { permissionOptions } from './permissions.ts';
import { openPlace } from './places.ts';
import { spawnProcess } from './spawn.ts';

/** The next one is started when the one before has been in use for so long: what comes has the processors until then. */
const NEXT_MS = 1000;
/** It is looked as often whether something is under way still that wants them (`isBusy`): what lasts longer than so many looks puts nothing off any more. */
const MOST_LOOKS = 30;
/** One that ended before it was of use says that the next one may, too. */
const AFTER_FAILURE_MS = 60_000;

/** What one waits for. */
export interface SpareWish {
  /** Those of one key are for the same machines. */
  readonly key: string;
  readonly message: SpareMessage;
  /** Folders that it reads, beside its machine's. */
  readonly readable: readonly string[];
}

const FOR_ARRIVALS: SpareWish = { key: 'arrival', message: { kind: 'spare' }, readable: [] };

/** One that is not in use yet. */
export class SpareProcess {
  /** That of the machine that uses it; of one that has a place, where it reaches that. */
  readonly folder: MachineFolder;
  readonly #child: ChildProcess;
  readonly #log: string;
  readonly #hasPlace: boolean;
  #isUsed = false;

  constructor(folder: MachineFolder, log: string, child: ChildProcess, hasPlace = false) {
    this.folder = folder;
    this.#log = log;
    this.#child = child;
    this.#hasPlace = hasPlace;
  }

  /** Where it reaches the machine's folder, if elsewhere. */
  get place(): string | undefined {
    return this.#hasPlace ? this.folder.path : undefined;
  }

  /** The process, for the machine whose folder is this one's; undefined, and it ends, where it may not have those disks, or its log cannot be the machine's. */
  use(folder: MachineFolder, { readable, writable }: MachineDisks): ChildProcess | undefined {
    const isThere = this.#hasPlace || folder.path === this.folder.path;
    const isOurs = isThere && [...readable, ...writable].every((path) => isIn(this.folder, path));
    if (!isOurs || !this.#child.connected) {
      this.end();
      return undefined;
    }
    try {
      renameSync(this.#log, folder.processLog);
      if (this.#hasPlace) openPlace(this.folder.path, folder.path);
    } catch {
      this.end();
      return undefined;
    }
    this.#isUsed = true;
    return this.#child;
  }

  /** Ends it, unless it is in use. */
  end(): void {
    if (!this.#isUsed) this.#child.kill('SIGKILL');
  }
}

function isIn({ path: folder }: MachineFolder, path: string): boolean {
  return path.startsWith(`${folder}${sep}`);
}

export interface SpareProcessesOptions {
  readonly onFailure?: (error: unknown) => void;
  readonly spawn?: typeof spawnProcess;
  /** Whether they reach their machines' folders by places (places.ts). */
  readonly hasPlaces?: boolean;
  /** Whether something is under way that the next one would take the processors from: it is put off, for half a minute at most. */
  readonly isBusy?: () => boolean;
}

/** One at a time waits: it takes what a process takes that has no machine yet (docs/migration.md). */
export class SpareProcesses {
  readonly #folder: string;
  readonly #hasPlaces: boolean;
  readonly #log: string;
  readonly #onFailure: (error: unknown) => void;
  readonly #spawn: typeof spawnProcess;
  readonly #isBusy: () => boolean;
  #ready: SpareProcess | undefined;
  #coming: ChildProcess | undefined;
  #next: NodeJS.Timeout | undefined;
  #wish: SpareWish | undefined;
  #isClosed = false;
  /** Times that it was found busy since it was not. */
  #looks = 0;

  /**
   * For machines whose folders are made in `folder`, or with places there. What a process says while it waits goes to a file beside `log`, on the same file
   * system, and to `log` when it ends before it is used. That none can be started is told, and tried again later.
   */
  constructor(
    folder: string,
    log: string,
    {
      onFailure = () => undefined,
      spawn = spawnProcess,
      hasPlaces = false,
      isBusy = () => false,
    }: SpareProcessesOptions = {},
  ) {
    this.#folder = folder;
    this.#hasPlaces = hasPlaces;
    this.#log = log;
    this.#onFailure = onFailure;
    this.#spawn = spawn;
    this.#isBusy = isBusy;
  }

  /** Has one there soon, and again after each that is taken; one that waits for something else ends. */
  begin(wish: SpareWish = FOR_ARRIVALS): void {
    if (this.#isClosed) return;
    if (this.#wish?.key !== wish.key) this.end();
    this.#wish = wish;
    if (this.#ready !== undefined || this.#coming !== undefined || this.#next !== undefined) return;
    this.#tried(wish);
  }

  #tried(wish: SpareWish): void {
    try {
      this.#begin(wish);
    } catch (error) {
      this.#onFailure(error);
      this.#later(AFTER_FAILURE_MS);
    }
  }

  #begin({ message, readable }: SpareWish): void {
    const id = randomUUID().slice(0, 8);
    const folder = machineFolder(join(this.#folder, this.#hasPlaces ? id : `arrived-${id}`));
    const path = `${this.#log}.${id}`;
    const log = openSync(path, 'wx', 0o600);
    let child: ChildProcess;
    try {
      const nothing = { readable: [], writable: [] };
      const permissions = permissionOptions(folder, nothing, readable);
      child = this.#spawn(permissions, { cwd: this.#folder, log, words: ['spare'] });
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    } finally {
      closeSync(log);
    }
    this.#coming = child;
    let spare: SpareProcess | undefined;
    child.once('message', (said: ProcessMessage) => {
      if (said.kind !== 'ready' || this.#coming !== child) return void child.kill('SIGKILL');
      letV8GiveWay(child.pid);
      this.#coming = undefined;
      spare = this.#ready = new SpareProcess(folder, path, child, this.#hasPlaces);
    });
    const over = (): void => {
      leaveLog(path, this.#log);
      if (this.#coming === child) this.#coming = undefined;
      else if (spare === undefined || this.#ready !== spare) return;
      this.#ready = undefined;
      this.#later(AFTER_FAILURE_MS);
    };
    child.once('error', over);
    child.once('exit', over);
    child.once('spawn', () => child.send(message, () => undefined));
  }

  /**
   * The one that waits, if one does for that; another one takes its place. Where it is said for which machine, none that could not be its: a log moves on its
   * file system only.
   */
  take(key: string = FOR_ARRIVALS.key, machine?: MachineFolder): SpareProcess | undefined {
    if (this.#wish?.key !== key) return undefined;
    if (machine !== undefined && !isOnSame(machine.path, dirname(this.#log))) return undefined;
    const spare = this.#ready;
    this.#ready = undefined;
    if (spare !== undefined) this.#later(NEXT_MS);
    return spare;
  }

  /** None is to wait any more. */
  end(): void {
    this.#wish = undefined;
    clearTimeout(this.#next);
    this.#next = undefined;
    const coming = this.#coming;
    const ready = this.#ready;
    this.#coming = this.#ready = undefined;
    coming?.kill('SIGKILL');
    ready?.end();
  }

  /** Removes what those of a daemon that was killed have left. */
  clear(): void {
    const prefix = `${basename(this.#log)}.`;
    for (const name of readdirSync(dirname(this.#log)))
      if (name.startsWith(prefix)) rmSync(join(dirname(this.#log), name), { force: true });
  }

  close(): void {
    this.#isClosed = true;
    this.end();
  }

  #later(ms: number): void {
    clearTimeout(this.#next);
    const wasBusy = this.#isBusy();
    this.#next = setTimeout(() => {
      this.#next = undefined;
      const isBusy = this.#isBusy();
      this.#looks = isBusy ? this.#looks + 1 : 0;
      // For a while after it is over, too.
      if ((wasBusy || isBusy) && this.#looks < MOST_LOOKS) this.#later(NEXT_MS);
      else if (this.#wish !== undefined) this.#tried(this.#wish);
    }, ms).unref();
  }
}

function isOnSame(one: string, other: string): boolean {
  try {
    return statSync(one).dev === statSync(other).dev;
  } catch {
    return false;
  }
}

/** One that is used has no log here any more. */
function leaveLog(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch {
    // It is the machine's, or nobody can have it.
  }
}
