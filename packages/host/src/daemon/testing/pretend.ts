/** Machines without guests: an image of a few bytes, and processes that live in this one, so that the daemon's own part can be seen alone. */

import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { State } from '@ringfence/api';
import type { OperationInput, VMMemoryUsage, VMStatus } from '../../control/operations.ts';
import { HostError } from '../../failure.ts';
import { CONFIG_VERSION, type MachineConfig } from '../../machine-folder/config.ts';
import type { Image } from '../../vm/images.ts';
import { SnapshotStore } from '../../snapshot/snapshot-store.ts';
import { smallMachine } from '../../snapshot/testing/small-machine.ts';
import type { DomainPlace, JoiningMachine } from '../../vm-process/domains.ts';
import type { StartHow } from '../../vm-process/start.ts';
import type { MachineProcesses, RunEnd, RunningMachine } from '../../vm-process/running.ts';
import { EventLog } from '../event-log.ts';
import { LongOperations } from '../long-operations.ts';
import { Machines, type MachinesOptions } from '../machines.ts';
import { Store } from '../store.ts';
import { PretendFork, type PretendForks } from './pretend-fork.ts';
import { pretendStatus } from '../../vm-process/testing/pretend-status.ts';

export function pretendImage(folder: string, bytes = 100): Image {
  const path = (name: string): string => join(folder, name);
  return {
    summary: 'nothing',
    shell: ['sh'],
    memoryBytes: 64 * 1024 * 1024,
    least: { cpuMs: 2000, memoryLimitBytes: 16 * 1024 * 1024 },
    load: () => {
      mkdirSync(folder, { recursive: true });
      for (const name of ['kernel', 'initrd']) writeFileSync(path(name), Buffer.alloc(bytes, name));
      return Promise.resolve({
        suite: 'stable',
        kernel: { kind: 'kernel', name: path('kernel'), bytes: new Uint8Array(bytes) },
        initrd: { kind: 'initrd', name: path('initrd'), bytes: new Uint8Array(bytes) },
        guestSettings: {},
        kernelParameters: [],
      });
    },
    guestArchive: () => new Uint8Array(0),
  };
}

export interface PretendRun extends RunningMachine {
  name: string;
  /** Names of its forks; what is set is what there is. */
  made: readonly string[];
  readonly knownForks: ReadonlyMap<string, PretendFork>;
  state: VMStatus['state'];
  isChanging: boolean;
  /** How long its guest was given to shut down. */
  patienceMs?: number;
  /** What was asked of its processors last. */
  asked?: OperationInput<'processors'>;
  /** What its pool may have, and has. */
  poolBytes: number;
  usedBytes: number;
  /** The most that it had; what it uses when that is more. */
  touchedBytes: number;
  /** It ends by itself. */
  end(how: RunEnd): void;
}

const NOT_USABLE = { from: 'boot', reason: 'what was kept of one like it cannot be used' } as const;

/** What another daemon says of a machine that is to come. */
export function comingMachine(name: string, more: Partial<MachineConfig> = {}): MachineConfig {
  return {
    version: CONFIG_VERSION,
    id: randomUUID(),
    name,
    image: 'tiny',
    suite: 'stable',
    cpus: 1,
    memory: '64M',
    disks: [],
    networks: [],
    ...more,
  };
}

/** The processes of a computer; they outlive the daemon. */
export class PretendProcesses implements MachineProcesses {
  readonly runs = new Map<string, PretendRun>();
  /** What fails next. */
  failing: 'fork' | 'start' | 'ready' | 'pause' | 'resume' | 'snapshot' | 'restore' | undefined;
  /** Machines boot that were to go on from a kept boot. */
  cannotGoOn = false;
  /** Ids of machines whose processes answer nothing. */
  readonly silent = new Set<string>();
  /** Turns of the event loop that everything takes. */
  turns = 0;
  /** Of those that share a process, by their ids. */
  readonly #labels = new Map<string, string>();
  #pid = 1000;

  async start(
    name: string,
    id: string,
    _folder?: unknown,
    _disks?: unknown,
    { from: restore, poolBytes, kept }: StartHow = {},
  ): Promise<RunningMachine> {
    await this.#pass();
    this.#mayFail('start');
    if ([...this.runs.values()].some((run) => run.name === name)) throw new HostError('name-taken', 'taken');
    if (this.runs.has(id)) throw new Error(`${id} runs twice`);
    if (restore !== undefined && 'commit' in restore) {
      this.#mayFail('restore');
      await restore.commit();
    }
    const { promise, resolve } = Promise.withResolvers<RunEnd>();
    const end = (how: RunEnd): void => {
      this.runs.delete(id);
      for (const fork of known.values()) fork.end('lost');
      resolve(how);
    };
    const known = new Map<string, PretendFork>();
    const forks: PretendForks = {
      known,
      add: (names) => names.forEach((each) => known.set(each, new PretendFork(each, forks))),
      step: async (what) => {
        await this.#pass();
        if (what !== undefined) this.#mayFail(what);
        if (this.runs.get(id) !== run) throw new HostError('ended', 'it has ended');
      },
      snapshot: (...wanted) => run.snapshot(...wanted),
      onEnd: (...fork) => run.onForkEnd?.(...fork),
      onRename: (...names) => run.onForkRename?.(...names),
    };
    const run: PretendRun = {
      pid: ++this.#pid,
      ...(kept === undefined ? {} : { began: this.cannotGoOn ? NOT_USABLE : { from: 'kept-boot' } }),
      name,
      state: 'booting',
      isChanging: false,
      ended: promise,
      end,
      ready: async () => {
        await this.#pass();
        this.#mayFail('ready');
        if (this.runs.get(id) !== run) throw new HostError('ended', 'it has ended');
        run.state = 'running';
      },
      stop: async ({ timeoutMs }) => {
        await this.#pass();
        run.patienceMs = timeoutMs;
        if (this.silent.has(id)) throw new HostError('timeout', 'it does not answer');
        end({ kind: 'stopped' });
        return 'shutdown';
      },
      pause: async () => {
        await this.#pass();
        await this.#answering(id, promise);
        this.#mayFail('pause');
        run.state = 'paused';
      },
      resume: async () => {
        await this.#pass();
        this.#mayFail('resume');
        run.state = 'running';
      },
      status: () =>
        this.silent.has(id)
          ? Promise.reject(new HostError('timeout', 'it does not answer'))
          : Promise.resolve({ ...STATUS, name: run.name, state: run.state, isChanging: run.isChanging }),
      migrate: () => Promise.reject(new HostError('unsupported', 'it does not move')),
      settle: () => Promise.resolve(),
      rejoin: () => Promise.reject(new HostError('wrong-state', 'it keeps no pages')),
      letGo: () => Promise.resolve(),
      arrive: () => Promise.reject(new HostError('unsupported', 'it does not move')),
      processors: (input) => {
        run.asked = input;
        return Promise.resolve({ usedUs: 0, heldUs: 0, bucketUs: 0, waitedUs: 0, stolenUs: 0 });
      },
      disks: () => Promise.resolve([]),
      memory: ({ poolBytes: wanted }) => {
        run.poolBytes = wanted ?? run.poolBytes;
        return Promise.resolve(pretendMemory(run));
      },
      poolBytes: poolBytes ?? 0,
      usedBytes: 0,
      touchedBytes: 0,
      usage: () => Promise.resolve({ cpuMs: 1, residentBytes: 2, guestResidentBytes: 3, instructions: 4 }),
      snapshot: async (store, wanted, parentName) => {
        await this.#pass();
        await this.#answering(id, promise);
        this.#mayFail('snapshot');
        const snapshots = new SnapshotStore(store);
        const { request } = await smallMachine(2);
        const parent = parentName === undefined ? undefined : snapshots.open(parentName);
        const about = { network: 'none' };
        const { written } = await snapshots.write(wanted, { ...request(), about, parent });
        const { path } = await written;
        parent?.close();
        if (this.runs.get(id) !== run) throw new HostError('ended', 'it has ended');
        return { path, pausedMs: 1 };
      },
      forks: () => Promise.resolve(run.made),
      fork: async (names) => {
        await forks.step('fork');
        run.made = [...run.made, ...names];
      },
      knownForks: known,
      get made() {
        return [...known.keys()];
      },
      set made(names) {
        for (const fork of known.values()) if (!names.includes(fork.name)) fork.end('lost');
        forks.add(names.filter((each) => !known.has(each)));
      },
      rename: async (to) => {
        await this.#pass();
        run.name = to;
      },
      kill: (isAlone) => {
        const label = this.#labels.get(id);
        if (label !== undefined && this.silent.has(id)) {
          if (isAlone?.() !== true) return Promise.reject(new HostError('timeout', 'it does not answer'));
          for (const [other, its] of this.#labels) if (its === label) this.runs.get(other)?.end({ kind: 'lost' });
        }
        end({ kind: 'lost' });
        return Promise.resolve();
      },
    };
    this.runs.set(id, run);
    return run;
  }

  join({ label }: DomainPlace, { name, id, from }: JoiningMachine): Promise<RunningMachine> {
    this.#labels.set(id, label);
    return this.start(name, id, undefined, undefined, { from });
  }

  find(): ReturnType<MachineProcesses['find']> {
    const status = ({ name, state, isChanging }: PretendRun): VMStatus => ({ ...STATUS, name, state, isChanging });
    for (const { knownForks } of this.runs.values())
      for (const fork of knownForks.values()) fork.found = { state: fork.state, isChanging: fork.isChanging };
    const found = [...this.runs].map(
      ([id, run]) =>
        [id, { run, status: this.silent.has(id) ? undefined : status(run), isShared: this.#labels.has(id) }] as const,
    );
    return Promise.resolve(new Map(found));
  }

  endLeftover(): Promise<void> {
    return Promise.resolve();
  }

  isTaken(name: string): Promise<boolean> {
    return Promise.resolve(name === 'taken' || [...this.runs.values()].some(({ knownForks }) => knownForks.has(name)));
  }

  /** As a process that answers nothing: until it does, or its connection is gone. */
  async #answering(id: string, ended: Promise<RunEnd>): Promise<void> {
    let hasEnded = false;
    void ended.then(() => (hasEnded = true));
    while (this.silent.has(id) && !hasEnded) await new Promise((resolve) => setTimeout(resolve, 1));
    if (hasEnded) throw new HostError('ended', 'it has ended');
  }

  #mayFail(what: NonNullable<PretendProcesses['failing']>): void {
    if (this.failing !== what) return;
    this.failing = undefined;
    throw new HostError('unavailable', `${what} does not work`);
  }

  async #pass(): Promise<void> {
    for (let turn = 0; turn < this.turns; turn++) await new Promise(setImmediate);
  }
}

function pretendMemory({ poolBytes, usedBytes, touchedBytes, made }: PretendRun): VMMemoryUsage {
  const pages = { zeroBytes: 0, sharedBytes: 0, savedBytes: 0, balloonBytes: 0, compressedBytes: 0, pagedBytes: 0 };
  const counts = { merged: 0, packs: 0, unpacks: 0, pageOuts: 0, pageIns: 0, waits: 0 };
  const wishes = { reservationBytes: 0, shares: 1000, machines: 1 + made.length };
  const pool = { state: 'high' as const, bytes: poolBytes, targetBytes: poolBytes, usedBytes, activeBytes: usedBytes };
  const touched = { touchedBytes: Math.max(usedBytes, touchedBytes) };
  return { ...pages, pool: { ...pool, ...touched, ...counts, ...wishes } };
}

const STATUS = pretendStatus(1);

/** A daemon's inside, which can be ended and begun again over the same folder and processes. */
export class PretendDaemon {
  readonly folder: string;
  readonly processes = new PretendProcesses();
  readonly changes: [from: State | 'gone', to: State | 'gone'][] = [];
  failures: unknown[] = [];
  readonly image: Image;
  readonly #more: Partial<MachinesOptions>;
  /** The daemon that there is now. */
  #present = { isOver: false };
  machines!: Machines;
  operations!: LongOperations;
  events!: EventLog;
  store!: Store;

  private constructor(more: Partial<MachinesOptions>, folder = mkdtempSync(join(tmpdir(), 'ringfence-daemon-'))) {
    this.folder = folder;
    this.image = pretendImage(join(folder, 'cache'));
    this.#more = more;
  }

  static async begin(more: Partial<MachinesOptions> = {}): Promise<PretendDaemon> {
    const daemon = new PretendDaemon(more);
    mkdirSync(join(daemon.folder, 'machines'));
    await daemon.again();
    return daemon;
  }

  /** Begins anew, as after a kill: what is not in the folder is forgotten. */
  async again(): Promise<void> {
    // What the one before may still do comes to nothing, also where it sees the end of a machine and would start that again.
    await (this.store as Store | undefined)?.close();
    this.#present.isOver = true;
    const present = { isOver: false };
    this.#present = present;
    const { processes: all } = this;
    const never = new Promise<never>(() => undefined);
    const processes: MachineProcesses = {
      start: (...wanted) => (present.isOver ? never : all.start(...wanted)),
      join: (...wanted) => (present.isOver ? never : all.join(...wanted)),
      find: () => all.find(),
      endLeftover: () => all.endLeftover(),
      isTaken: (name) => all.isTaken(name),
    };
    const failures: unknown[] = [];
    this.failures = failures;
    const onFailure = (error: unknown): void => void failures.push(error);
    this.store = await Store.open(join(this.folder, 'state.db'));
    this.events = await EventLog.open(this.store, onFailure);
    this.operations = new LongOperations(this.store, onFailure);
    await this.operations.recover();
    this.machines = new Machines({
      store: this.store,
      events: this.events,
      operations: this.operations,
      processes,
      folder: join(this.folder, 'machines'),
      imageNamed: () => this.image,
      onFailure,
      onState: (_name, state, before) => this.changes.push([before, state]),
      ...this.#more,
    });
    await this.machines.recover();
  }

  /** What the pretended process of a machine is; throws when there is none. */
  runOf(name: string): PretendRun {
    const run = this.processes.runs.get(this.machines.find(name).id);
    if (run === undefined) throw new Error(`${name} does not run`);
    return run;
  }

  /** Waits for the end of a long operation; rejects with its failure. */
  async done(begun: Awaited<ReturnType<Machines['create']>>): Promise<void> {
    for (let now = begun; ; now = await this.operations.wait(now.id, now.revision, 5000)) {
      if (now.state === 'failed') throw new HostError(now.error?.code ?? 'bug', now.error?.message ?? '');
      if (now.state === 'done') return;
    }
  }

  async create(name: string): Promise<void> {
    await this.done(await this.machines.create({ name, network: 'none' }));
  }

  state(key: string): State | 'gone' {
    return this.machines.find(key).life.state;
  }

  async end(): Promise<void> {
    await this.operations.settled(5000);
    await this.events.close();
    await this.store.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
