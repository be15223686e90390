/**
 * Processes that machines of one trust label share, as the daemon has them: one a label, started for the first machine that runs and ended with the last. A process
 * is found by a socket that is called as no machine is, and by the names of its machines, which lead to the same.
 */

import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { RemoteVM } from '../control/client.ts';
import type { OperationOutput } from '../control/operations.ts';
import { socketPath } from '../control/vm-folder.ts';
import { HostError } from '../failure.ts';
import { type LabelFolder, labelFolderOf } from '../machine-folder/label-folder.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import type { MachineDisks } from '../machine-folder/machine-files.ts';
import { labelPermissionOptions } from './permissions.ts';
import {
  type Arriving,
  howItBegins,
  launch,
  releaseName,
  type Restore,
  spawnLogged,
  START_TIMEOUT_MS,
  takeName,
} from './start.ts';
import { endProcess, processesThere, isIn } from './system-processes.ts';

/** What the process of a label is to be, where there is none yet. */
export interface DomainPlace {
  readonly label: string;
  readonly folder: LabelFolder;
  readonly cpus: number;
  readonly engine: 'interpreter' | 'jit' | undefined;
  /** Whether some machine of the label has a network card. */
  readonly hasNetwork: boolean;
  /** Where its machines have less memory than there is, what it has at first. */
  readonly poolBytes: number | undefined;
}

export interface JoiningMachine {
  readonly name: string;
  readonly id: string;
  readonly folder: MachineFolder;
  readonly disks: MachineDisks;
  readonly hasNetwork: boolean;
  /** What it goes on from, or comes from, instead of booting. */
  readonly from: Restore | Arriving | undefined;
}

type Domain = OperationOutput<'domain'>;

/** What a process that is shared is started with, after its program. */
export const SHARED_WORD = 'domain';
/** A process may end when somebody is about to come to it, and so may the next one. */
const ATTEMPTS = 3;
/** How long a process may take to end one of its machines. */
const EVICT_TIMEOUT_MS = 10_000;
/** Between two times that it is asked to. */
const EVICT_AGAIN_MS = 1000;
const DIGEST_CHARACTERS = 12;

/** How the process of machines in that folder is found: daemons with other folders have other processes. */
export function addressOf({ path }: LabelFolder): string {
  return `@${createHash('sha256').update(path).digest('hex').slice(0, DIGEST_CHARACTERS)}`;
}

export class DomainProcesses {
  readonly #sockets: string;
  readonly #starting = new Map<string, Promise<unknown>>();
  /** Machines, by their ids, that were begun in processes that did not answer any more, and are to end there as soon as these do. */
  readonly #unwanted = new Map<string, Promise<void>>();

  constructor(sockets: string) {
    this.#sockets = sockets;
  }

  /**
   * Starts the machine in the process of its label, or has it wait there for one that comes; throws before anything is made when it is not like the others there.
   * Gives that process.
   */
  async join(place: DomainPlace, machine: JoiningMachine): Promise<{ readonly pid: number }> {
    const address = addressOf(place.folder);
    const { name, id, folder, disks, from } = machine;
    const { restore, coming } = howItBegins(from);
    let isCommitted = false;
    const commit = restore && ((): Promise<void> => ((isCommitted = true), restore.commit()));
    for (let attempt = 1; ; attempt++) {
      let there = await this.#fitting(place, machine, address);
      await this.#unwanted.get(id);
      if (coming !== undefined) {
        await coming.arriving.catch(async (error: unknown) => {
          // One that was started for it has none to wait for.
          await this.evict(folder.path, id).catch(() => undefined);
          throw error;
        });
        // That may have taken long, and the process be another one.
        there = await this.#fitting(place, machine, address);
      }
      mkdirSync(folder.snapshots, { recursive: true, mode: 0o700 });
      let isNamed = false;
      try {
        await takeName(this.#sockets, socketPath(this.#sockets, address), name);
        isNamed = true;
        const snapshot = restore === undefined ? {} : { snapshot: restore.snapshot };
        const poolBytes = place.poolBytes === undefined ? {} : { poolBytes: place.poolBytes };
        const absentDisks = coming === undefined ? {} : { absentDisks: coming.absentDisks };
        const what = { ...snapshot, ...absentDisks, ...poolBytes };
        const wanted = { id, name, folder: folder.path, disks: [...disks.specs], ...what };
        await this.#at(address).join(wanted, START_TIMEOUT_MS, commit);
        return { pid: there.pid };
      } catch (error) {
        if (isNamed) {
          // One that runs there already is not what was begun here.
          const runsThere = error instanceof HostError && error.code === 'wrong-state';
          if (!runsThere) await this.evict(folder.path, id).catch(() => this.#evictLater(folder.path, id));
          releaseName(this.#sockets, name);
        }
        const isAgain = attempt < ATTEMPTS && !isCommitted && (await this.#ask(address)) === undefined;
        if (!isAgain) throw error;
      }
    }
  }

  /** That which runs, or a new one; throws where the machine cannot be in it. */
  async #fitting(place: DomainPlace, machine: JoiningMachine, address: string): Promise<Domain> {
    const there = await this.#there(place, address);
    checkFits(place, machine, there);
    return there;
  }

  /** Ids of the machines that run in the process of the label of that folder; undefined when nobody answers. */
  async machinesBeside(folder: string): Promise<readonly string[] | undefined> {
    return (await this.#ask(addressOf(labelFolderOf(folder))).catch(() => undefined))?.machines;
  }

  /** As `machinesBeside`, which asks each process once: one that does not answer is waited for once. */
  machinesBesideAll(): DomainProcesses['machinesBeside'] {
    const asked = new Map<string, ReturnType<DomainProcesses['machinesBeside']>>();
    return (folder) => {
      const { path } = labelFolderOf(folder);
      const answer = asked.get(path) ?? this.machinesBeside(folder);
      asked.set(path, answer);
      return answer;
    };
  }

  /** Removes that name where it leads to the process of machines in one of those folders, and to none of them: nobody was there when that one ended. */
  async clearName(name: string, folders: readonly string[]): Promise<void> {
    const there = await RemoteVM.at(name, this.#sockets)
      .domain()
      .catch(() => undefined);
    const isOurs = folders.some((folder) => labelFolderOf(folder).path === there?.folder);
    if (isOurs && there?.names.includes(name) === false) releaseName(this.#sockets, name);
  }

  /** Ends one machine of the process of its label, and nothing where there is none; rejects when that does not answer. */
  async evict(folder: string, id: string): Promise<void> {
    await orGone(this.#at(addressOf(labelFolderOf(folder))).evict(id, EVICT_TIMEOUT_MS));
  }

  #evictLater(folder: string, id: string): void {
    const evicted = async (): Promise<void> => {
      for (let isDone = false; !isDone;) {
        await sleep(EVICT_AGAIN_MS, undefined, { ref: false });
        isDone = await this.evict(folder, id).then(
          () => true,
          () => false,
        );
      }
      this.#unwanted.delete(id);
    };
    if (!this.#unwanted.has(id)) this.#unwanted.set(id, evicted());
  }

  /** As `evict`. A process that does not do it may be slow, or held: it is ended where no other machine ends with it, and else this rejects with `timeout`. */
  async end(folder: string, id: string, isAlone: () => boolean): Promise<void> {
    try {
      await this.evict(folder, id);
    } catch (error) {
      if (!isAlone()) throw new HostError('timeout', 'the process that it shares with others does not answer', error);
      for (const { pid, words } of processesThere()) if (isIn(folder, words)) await endProcess(pid, folder);
    }
  }

  #at(address: string): RemoteVM {
    return RemoteVM.sharedProcess(address, this.#sockets);
  }

  /** Undefined where there is none; rejects with `timeout` when it does not answer. */
  #ask(address: string): Promise<Domain | undefined> {
    return orGone(this.#at(address).domain());
  }

  /** That which runs, or a new one. */
  async #there(place: DomainPlace, address: string): Promise<Domain> {
    for (let attempt = 1; ; attempt++) {
      await this.#starting.get(address)?.catch(() => undefined);
      const there = await this.#ask(address).catch((error: unknown) => {
        if (!(error instanceof HostError && error.code === 'timeout')) throw error;
        throw new HostError('timeout', `the process of the label "${place.label}" does not answer`, error);
      });
      if (there !== undefined) return there;
      if (attempt > ATTEMPTS)
        throw new HostError('ended', `the process of the label "${place.label}" ended as it started`);
      // Somebody may have begun meanwhile.
      if (this.#starting.has(address)) continue;
      const starting = this.#start(place, address).finally(() => this.#starting.delete(address));
      this.#starting.set(address, starting);
      await starting;
    }
  }

  async #start({ label, folder, cpus, engine, hasNetwork, poolBytes }: DomainPlace, address: string): Promise<void> {
    mkdirSync(folder.memory, { recursive: true, mode: 0o700 });
    await launch({
      sockets: this.#sockets,
      name: address,
      mark: address,
      child: () =>
        spawnLogged(labelPermissionOptions(folder), {
          cwd: folder.path,
          log: folder.processLog,
          words: [SHARED_WORD, label],
        }),
      message: { kind: 'domain', label, folder: folder.path, cpus, engine, hasNetwork, poolBytes },
    });
  }
}

/** Undefined where there is no such process, or it has just ended. */
async function orGone<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof HostError && (error.code === 'not-found' || error.code === 'ended')) return undefined;
    throw error;
  }
}

/** Throws when the machine cannot be in the process that there is. */
function checkFits(place: DomainPlace, machine: JoiningMachine, there: Domain): void {
  const { name, hasNetwork, from } = machine;
  if (howItBegins(from).coming !== undefined && there.takesArrivals !== true)
    throw new HostError(
      'unsupported',
      `the process of the label "${place.label}" is of an earlier version of Ringfence, where no machine comes to it from another daemon; stop its machines first`,
    );
  const others = `those of the label "${place.label}" that run`;
  const differs = (what: string, its: string | number = 'none', theirs: string | number = 'none'): void => {
    if (its !== theirs)
      throw new HostError(
        'bad-argument',
        `the virtual machine "${name}" has ${what} ${its}, and ${others} have ${theirs}: all of a label have the same`,
      );
  };
  differs('cpus', place.cpus, there.cpus);
  differs('engine', place.engine, there.engine);
  if ((place.poolBytes !== undefined) !== there.hasPool)
    throw new HostError(
      'bad-argument',
      `the virtual machine "${name}" has ${there.hasPool ? 'no' : 'an'} overcommit, and ${others} have ${there.hasPool ? 'one' : 'none'}: all of a label have one, or none has`,
    );
  if (hasNetwork && !there.hasNetwork)
    throw new HostError(
      'unsupported',
      `the virtual machine "${name}" has a network card, and the process of ${others} was started when none of them had one, and may have no network; stop them first`,
    );
}
