/** The machines there are: found by name or id, made, taken in, renamed and removed. Their runs are runs.ts. */

import type {
  Creation,
  LongOperation,
  MachineView,
  OperationName,
  SnapshotView,
  ProcessorChange,
  State,
  UsageView,
} from '@ringfence/api';

import { HostError } from '../failure.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { changeMachine } from '../machine-folder/machine-files.ts';
import type { Image } from '../vm/images.ts';
import type { Departures } from '../migration/departures.ts';
import type { MachineProcesses } from '../vm-process/running.ts';
import type { Boots } from './boots.ts';
import { Entry } from './entry.ts';
import type { EventLog } from './event-log.ts';
import { Forks, type KnownFork, notForForks } from './forks.ts';
import { Labels } from './labels.ts';
import type { LongOperations } from './long-operations.ts';
import { Memory } from './memory.ts';
import { Moves, removeFolder } from './moves.ts';
import { recover } from './recovery.ts';
import { Names } from './names.ts';
import { type CreatingWork, Newcomers } from './newcomers.ts';
import { forkViewOf, inspectionOf, usageOf, viewOf } from './view.ts';
import { Processors } from './processors.ts';
import { RESTARTED, Runs } from './runs.ts';
import {
  checkNewSnapshot,
  checkSnapshot,
  listSnapshots,
  prepareRestore,
  removeSnapshot,
  takeSnapshot,
  timeName,
} from './snapshots.ts';
import type { Store, StoredMachine } from './store.ts';

export interface MachinesOptions {
  readonly store: Store;
  readonly events: EventLog;
  readonly operations: LongOperations;
  readonly processes: MachineProcesses;
  /** Where the folders of new machines are made. */
  readonly folder: string;
  /** Memory of this computer that could be had now, in bytes. */
  readonly freeMemoryBytes?: () => number;
  /** Of one processor, in percent: what machines may have together; all of this computer when it is not given. */
  readonly processorCapacity?: number | undefined;
  /** What machines may have of this computer's memory together, in bytes; a part of it when it is not given. */
  readonly memoryCapacity?: number | undefined;
  readonly onFailure: (error: unknown) => void;
  /** Called with every change of a state. */
  readonly onState?: (name: string, state: State | 'gone', before: State | 'gone') => void;
  readonly imageNamed?: (name: string) => Image;
  /** What machines go on from instead of booting; all boot when it is not given. */
  readonly boots?: Boots;
  /** What moves machines to other daemons. */
  readonly departures?: Departures;
}

export class Machines {
  /** What goes to other daemons, and comes from there. */
  readonly moves: Moves;
  readonly #options: MachinesOptions;
  readonly #runs: Runs;
  readonly processors: Processors;
  readonly memory: Memory;
  readonly #entries = new Map<string, Entry>();
  readonly #names: Names;
  readonly #labels: Labels;
  readonly #forks: Forks;
  readonly #newcomers: Newcomers;
  #usage: Promise<UsageView[]> | undefined;

  constructor(options: MachinesOptions) {
    this.#options = options;
    const { processes, freeMemoryBytes, events } = options;
    const runsAs = (id: string, name: string): boolean => this.#entries.get(id)?.runsAs(name) === true;
    this.#names = new Names((name) => processes.isTaken(name), runsAs);
    this.#labels = new Labels(() => this.#entries.values(), options.folder);
    this.processors = new Processors(() => this.#entries.values(), this.#labels, options.processorCapacity);
    this.memory = new Memory(() => this.#entries.values(), this.#labels, options.memoryCapacity, freeMemoryBytes);
    this.#forks = new Forks({
      entries: () => this.#entries.values(),
      names: this.#names,
      memory: this.memory,
      event: (kind, vm, detail) => events.add(kind, vm, detail),
      onState: (...change) => options.onState?.(...change),
    });
    this.#runs = new Runs({
      processes,
      labels: this.#labels,
      processors: this.processors,
      memory: this.memory,
      boots: options.boots,
      event: (kind, vm, detail) => events.add(kind, vm, detail),
      save: (entry) => this.#save(entry).catch(options.onFailure),
      background: (entry, work) => void this.#begin('vm.reset', entry, work),
    });
    this.#newcomers = new Newcomers({
      entries: this.#entries,
      names: this.#names,
      folder: options.folder,
      imageNamed: options.imageNamed,
      events,
      runs: this.#runs,
      labels: this.#labels,
      processors: this.processors,
      memory: this.memory,
      boots: options.boots,
      onFailure: options.onFailure,
      add: (stored) => this.#add(stored),
      save: (entry) => this.#save(entry),
      forget: (entry) => this.#forget(entry),
      begin: (kind, entry, work) => this.#begin(kind, entry, work),
      list: () => this.list(),
    });
    this.moves = new Moves({
      labels: this.#labels,
      departures: options.departures,
      expect: (...machine) => this.#newcomers.expect(...machine),
      runs: this.#runs,
      find: (key) => this.find(key),
      begin: (entry, work) => this.#begin('vm.migrate', entry, work),
      save: (entry) => this.#save(entry),
      forget: (entry) => this.#forget(entry),
      event: (kind, vm, detail) => events.add(kind, vm, detail),
    });
  }

  /** Finds again what was there when the daemon ended, however that was. */
  recover(): Promise<void> {
    const { store, processes, events, departures, folder, onFailure } = this.#options;
    return recover({
      store,
      processes,
      events,
      departures,
      folder,
      onFailure,
      runs: this.#runs,
      moves: this.moves,
      processors: this.processors,
      memory: this.memory,
      add: (stored) => this.#add(stored),
      save: (entry) => this.#save(entry),
      forget: (entry) => this.#forget(entry),
      clear: (each) => this.#clear(each),
      // Its guest has restarted itself.
      start: (id) => void this.#start(this.find(id), RESTARTED),
      restore: async (id, snapshot) => void (await this.restore(id, snapshot)),
    });
  }

  /** By name or id; throws `not-found` with names that may have been meant, and `unsupported` of a fork. */
  find(key: string): Entry {
    const entry = this.#entries.get(key) ?? this.#entries.get(this.#names.ownerOf(key) ?? '');
    if (entry !== undefined) return entry;
    const fork = this.#forks.find(key);
    if (fork !== undefined) throw notForForks(fork);
    throw this.#names.notFound(key, this.#forks.names);
  }

  /** By what a machine that runs, or a fork, is reached; throws as `find` does, or `wrong-state`. */
  reached(key: string): string {
    const fork = this.#forks.find(key)?.fork;
    if (fork !== undefined) return fork.name;
    const { name, run } = this.find(key);
    if (run === undefined) throw new HostError('wrong-state', `the virtual machine "${name}" does not run`);
    return name;
  }

  async list(): Promise<MachineView[]> {
    const entries = [...this.#entries.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return Promise.all(entries.map((entry) => this.view(entry)));
  }

  view(entry: Entry): Promise<MachineView> {
    return viewOf(entry, this.#forks);
  }

  /** Who asks while all are being asked hears the same. */
  usage(): Promise<UsageView[]> {
    this.#usage ??= Promise.all([...this.#entries.values()].map((entry) => usageOf(entry, this.processors)))
      .then((found) => found.filter((each) => each !== undefined))
      .finally(() => (this.#usage = undefined));
    return this.#usage;
  }

  /** How many are in which state. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { life } of this.#entries.values()) counts[life.state] = (counts[life.state] ?? 0) + 1;
    return counts;
  }

  /** Of each machine that has some, by its name. */
  forkCounts(): Record<string, number> {
    const all = [...this.#entries.values()].map(({ name, run }) => [name, run?.knownForks.size ?? 0] as const);
    return Object.fromEntries(all.filter(([, count]) => count > 0));
  }

  /** It goes on from a kept boot where there is one for it, unless `mayGoOn` is false. */
  start(key: string, mayGoOn = true): LongOperation {
    return this.#start(this.find(key), mayGoOn ? undefined : 'it was asked to');
  }

  #start(entry: Entry, whyItBoots: string | undefined): LongOperation {
    return this.#begin('vm.start', entry, this.#runs.start(entry, whyItBoots));
  }

  stop(key: string, timeoutMs?: number): LongOperation {
    const fork = this.#forks.find(key);
    if (fork !== undefined) return this.#beginOf('vm.stop', fork, this.#forks.stop(fork, timeoutMs));
    const entry = this.find(key);
    return this.#begin('vm.stop', entry, this.#runs.stop(entry, timeoutMs));
  }

  pause(key: string): LongOperation {
    const fork = this.#forks.find(key);
    if (fork !== undefined) return this.#beginOf('vm.pause', fork, this.#forks.pause(fork));
    const entry = this.find(key);
    return this.#begin('vm.pause', entry, this.#runs.pause(entry));
  }

  resume(key: string): LongOperation {
    const fork = this.#forks.find(key);
    if (fork !== undefined) return this.#beginOf('vm.resume', fork, this.#forks.resume(fork));
    const entry = this.find(key);
    return this.#begin('vm.resume', entry, this.#runs.resume(entry));
  }

  reset(key: string): LongOperation {
    const entry = this.find(key);
    return this.#begin('vm.reset', entry, this.#runs.reset(entry));
  }

  /** What `vm.inspect` tells: also what only its process knows. */
  async inspect(key: string): Promise<MachineView> {
    const fork = this.#forks.find(key);
    return fork === undefined ? inspectionOf(this.find(key), this.#forks) : forkViewOf(fork, this.#forks);
  }

  /** Forks a machine, or a fork. */
  fork(key: string, names: readonly string[] = [], count = Math.max(names.length, 1)): LongOperation {
    const fork = this.#forks.find(key);
    if (fork !== undefined) {
      const work = this.#forks.makeOf(fork, names, count);
      return this.#beginOf('vm.fork', fork, async () => ({ made: await work() }));
    }
    const entry = this.find(key);
    const work = this.#forks.make(entry, names, count);
    return this.#begin('vm.fork', entry, async () => ({ made: await work() }));
  }

  listSnapshots(key: string): Promise<SnapshotView[]> {
    return listSnapshots(this.find(key));
  }

  /** Takes one of a machine or of a fork; either lies among the machine's. */
  snapshot(key: string, name = timeName(), parent?: string): LongOperation {
    const fork = this.#forks.find(key);
    const entry = fork?.entry ?? this.find(key);
    checkNewSnapshot(entry, name, parent);
    const release = fork === undefined ? entry.life.hold('snapshot', entry.name) : this.#forks.holdForSnapshot(fork);
    const taker = { folder: entry.folder, name: fork?.fork.name ?? entry.name, run: fork?.fork ?? entry.run };
    const work: CreatingWork = async (progress) => {
      try {
        const pausedMs = await takeSnapshot(taker, name, parent, progress);
        const of: Record<string, string> = fork === undefined ? {} : { fork: fork.fork.name };
        this.#options.events.add('vm.snapshot', entry.vm, { snapshot: name, pausedMs: pausedMs.toFixed(1), ...of });
      } finally {
        release();
      }
      return [`snapshot "${name}"`];
    };
    return fork === undefined
      ? this.#begin('snapshot.create', entry, work)
      : this.#beginOf('snapshot.create', fork, work);
  }

  removeSnapshot(key: string, name: string): LongOperation {
    const entry = this.find(key);
    checkSnapshot(entry, name);
    const release = entry.life.hold('rm-snapshot', entry.name);
    return this.#begin('snapshot.remove', entry, async () => {
      try {
        await removeSnapshot(entry, name);
        this.#options.events.add('vm.snapshot-removed', entry.vm, { snapshot: name });
      } finally {
        release();
      }
    });
  }

  /** Lets the machine go on from a snapshot of its own, or a new one that is called `as`. */
  async restore(key: string, snapshot: string, as?: string): Promise<LongOperation> {
    const entry = this.find(key);
    checkSnapshot(entry, snapshot);
    if (as !== undefined) return this.#newcomers.restoreAs(entry, snapshot, as);
    const work = this.#runs.restore(entry, (progress) => prepareRestore(entry, snapshot, progress));
    return this.#begin('snapshot.restore', entry, work);
  }

  /** Folders of the machines that are here. */
  get folders(): readonly MachineFolder[] {
    return [...this.#entries.values()].map(({ folder }) => folder);
  }

  /** The process of the machine in that folder, while there is one. */
  running({ path }: MachineFolder): Entry['run'] {
    return [...this.#entries.values()].find(({ folder }) => folder.path === path)?.run;
  }

  create(wanted: Creation): Promise<LongOperation> {
    return this.#newcomers.create(wanted);
  }

  /** Takes in a folder that came from elsewhere; with `allowOutside` its files may be anywhere. */
  register(path: string, how?: Parameters<Newcomers['register']>[1]): Promise<LongOperation> {
    return this.#newcomers.register(path, how);
  }

  async rename(key: string, to: string): Promise<MachineView> {
    const fork = this.#forks.find(key);
    if (fork !== undefined) {
      await this.#forks.rename(fork, to);
      return forkViewOf(fork, this.#forks);
    }
    const entry = this.find(key);
    const from = entry.name;
    await entry.life.steadily('rename', from, async () => {
      if (from === to) return;
      await this.#names.take(to, entry.id);
      try {
        await entry.run?.rename(to);
        try {
          await changeMachine(entry.folder, [[['name'], to]]);
          entry.name = to;
          await this.#save(entry);
        } catch (error) {
          entry.name = from;
          await changeMachine(entry.folder, [[['name'], from]]).catch(this.#options.onFailure);
          await entry.run?.rename(from).catch(this.#options.onFailure);
          throw error;
        }
      } catch (error) {
        this.#names.release(to, entry.id);
        throw error;
      }
      this.#names.release(from, entry.id);
      this.#options.events.add('vm.renamed', entry.vm, { from });
    });
    return this.view(entry);
  }

  /** Changes what it may have of the processors, also while it runs. */
  async changeProcessors(key: string, change: ProcessorChange): Promise<MachineView> {
    const entry = this.find(key);
    await entry.life.steadily('cpu', entry.name, () => this.processors.change(entry, change));
    this.#options.events.add('vm.cpu-changed', entry.vm);
    return this.view(entry);
  }

  remove(key: string, keepFiles = false): LongOperation {
    const entry = this.find(key);
    entry.life.begin('rm', entry.name);
    return this.#begin('vm.remove', entry, async (progress) => {
      progress.step('removing its files');
      try {
        await this.#save(entry);
        if (entry.owned && !keepFiles) await removeFolder(entry);
      } catch (error) {
        entry.life.failed('rm');
        await this.#save(entry).catch(this.#options.onFailure);
        throw error;
      }
      entry.life.done('rm');
      await this.#forget(entry);
      this.#options.events.add('vm.removed', entry.vm);
    });
  }

  #begin(kind: OperationName, entry: Entry, work: CreatingWork): LongOperation {
    return this.#options.operations.begin(kind, entry.vm, work);
  }

  #beginOf(kind: OperationName, { entry, fork }: KnownFork, work: CreatingWork): LongOperation {
    return this.#options.operations.begin(kind, { id: entry.id, name: fork.name }, work);
  }

  #add(stored: StoredMachine): Entry {
    const entry = new Entry(stored, ({ name, life }, before) => this.#options.onState?.(name, life.state, before));
    this.#entries.set(entry.id, entry);
    this.#names.set(entry.name, entry.id);
    return entry;
  }

  async #forget(entry: Entry): Promise<void> {
    this.#entries.delete(entry.id);
    this.#names.release(entry.name, entry.id);
    await this.#options.store.removeMachine(entry.id).catch(this.#options.onFailure);
    this.#clear(entry.folder);
  }

  #clear(folder: MachineFolder): void {
    try {
      this.#labels.clear({ folder });
    } catch (error) {
      this.#options.onFailure(error);
    }
  }

  async #save(entry: Entry): Promise<void> {
    const { stored } = entry;
    if (stored !== undefined) await this.#options.store.putMachine(stored);
  }
}
