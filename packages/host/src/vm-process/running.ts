/** A machine that runs in a process of its own, as the daemon has it: started by it, or found again. */

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { RemoteVM } from '../control/client.ts';
import type { FrameLink } from '../control/frames.ts';
import type {
  HowStarted,
  MachineEndReport,
  OpenedDiskView,
  OperationInput,
  ProcessorFigures,
  VMMemoryUsage,
  VMStatus,
  VMUsage,
} from '../control/operations.ts';
import { connectTo, socketPath } from '../control/vm-folder.ts';
import { HostError } from '../failure.ts';
import { isLabelled } from '../machine-folder/label-folder.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import type { MachineDisks } from '../machine-folder/machine-files.ts';
import { type DomainPlace, DomainProcesses, type JoiningMachine, SHARED_WORD } from './domains.ts';
import { RunningForks, type RunningFork } from './running-forks.ts';
import type { SpareProcess, SpareProcesses } from './spare.ts';
import { closePlaces, sweepPlaces } from './places.ts';
import { releaseName, startProcess, type StartHow, takeName } from './start.ts';
import {
  ASK_AGAIN_MS,
  endProcess,
  GONE_AGAIN_MS,
  GONE_TIMEOUT_MS,
  isIn,
  isPlaceOf,
  isProcessOf,
  processesThere,
  TELLS,
} from './system-processes.ts';

/** How a run ended; `lost` when nobody was left to say it. */
export type RunEnd = MachineEndReport | { readonly kind: 'lost'; readonly detail?: string };

/** A run of a machine. */
export interface RunningMachine {
  readonly pid: number;
  /** Undefined of one that was restored, or came from elsewhere, or was found again. */
  readonly began?: HowStarted | undefined;
  /** Resolves when its process is gone. Never rejects. */
  readonly ended: Promise<RunEnd>;
  /** Resolves when the guest takes commands. */
  ready(): Promise<void>;
  stop(options: { readonly timeoutMs: number }): Promise<'shutdown' | 'forced'>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  usage(): Promise<VMUsage>;
  /** Which images its disks are made of. */
  disks(): Promise<readonly OpenedDiskView[]>;
  /** Writes a snapshot beside its place in the store in this folder; gives where it is. */
  snapshot(store: string, name: string, parent: string | undefined): Promise<{ path: string; pausedMs: number }>;
  /** Makes forks of those names in its process, each found by its name. */
  fork(names: readonly string[]): Promise<void>;
  /** Names of its forks, as its process says. */
  forks(): Promise<readonly string[]>;
  /** Those that it was heard of, by their names, without asking; when one of them ends, `onForkEnd` is told how. */
  readonly knownForks: ReadonlyMap<string, RunningFork>;
  onForkEnd?: ((fork: string, how: RunEnd['kind']) => void) | undefined;
  /** Told when one is called something else, also when its `rename` has rejected with `timeout` before. */
  onForkRename?: ((from: string, to: string) => void) | undefined;
  status(): Promise<VMStatus>;
  /** As RemoteVM has them. */
  migrate(options: OperationInput<'migrate'>): Promise<FrameLink>;
  settle(owner: 'source' | 'target'): Promise<void>;
  rejoin(): Promise<FrameLink>;
  letGo(how: 'complete' | 'never'): Promise<void>;
  arrive(migration: string): Promise<FrameLink>;
  processors(input: OperationInput<'processors'>): Promise<ProcessorFigures>;
  /** Of one with `overcommit`; rejects with `unsupported` of any other. */
  memory(input: OperationInput<'memory'>): Promise<VMMemoryUsage>;
  /** Lets it be reached by another name; rejects with `name-taken`. */
  rename(name: string): Promise<void>;
  /**
   * Ends it at once, and its process if that does not. One that others share is ended only if it `isAlone` there when that has not answered: else this rejects
   * with `timeout`.
   */
  kill(isAlone?: () => boolean): Promise<void>;
}

/** A machine as it is remembered. */
export interface RememberedMachine {
  readonly id: string;
  readonly name: string;
  readonly folder: string;
  readonly pid: number | undefined;
}

/** A run that was found again. */
export interface FoundRun {
  readonly run: RunningMachine;
  /** undefined of one whose process is there and does not answer now. */
  readonly status: VMStatus | undefined;
  /** Whether that process is its label's: then the machine need not be in it. */
  readonly isShared?: boolean;
}

/** Where runs come from. */
export interface MachineProcesses {
  start(name: string, id: string, folder: MachineFolder, disks: MachineDisks, how?: StartHow): Promise<RunningMachine>;
  /** As `start`, of a machine that shares the process of its label; rejects with `bad-argument` or `unsupported` when it cannot. */
  join(place: DomainPlace, machine: JoiningMachine): Promise<RunningMachine>;
  /** A process that waits for a machine that comes, which is to be in its folder; undefined where there is none. */
  spare?(): SpareProcess | undefined;
  /** Those of these machines that run already, by their ids, also of those that do not answer where the system tells that they are there. */
  find(machines: readonly RememberedMachine[]): Promise<ReadonlyMap<string, FoundRun>>;
  /**
   * Ends what may be left of a machine's process, also of one that was only being started, and frees its name. One that others share is asked, and left alone
   * when it does not answer.
   */
  endLeftover(machine: RememberedMachine): Promise<void>;
  /** Whether some other machine that runs has the name. */
  isTaken(name: string): Promise<boolean>;
}

/** The processes of this user, by their sockets in `sockets`; some reach their machines' folders by places in `places`. */
export function nodeProcesses(sockets: string, spares?: SpareProcesses, places?: string): MachineProcesses {
  const domains = new DomainProcesses(sockets);
  return {
    async start(name, id, folder, disks, how = {}) {
      const starting = startProcess(sockets, name, id, folder, disks, how);
      // Nothing is left of one that does not start.
      if (places !== undefined) starting.catch(() => closePlaces(places, folder.path));
      const { pid, how: began } = await starting;
      return running(sockets, name, pid, ownHome(pid, folder.path, places), began);
    },
    async join(place, machine) {
      const { pid } = await domains.join(place, machine);
      const { name, id, folder } = machine;
      return running(sockets, name, pid, sharedHome(domains, pid, folder.path, id));
    },
    spare: () => spares?.take(),
    async find(machines) {
      const found = new Map<string, FoundRun>();
      const all = await RemoteVM.list(sockets);
      const unanswered = new Set(all.filter(({ status }) => status === undefined).map(({ name }) => name));
      for (const { status } of all) {
        if (status?.id === undefined) continue;
        // A rename that was cut short leaves two names.
        if (found.has(status.id)) releaseName(sockets, status.name);
        else if (status.folder !== undefined) {
          const { id, name, pid, folder, label } = status;
          const home = label === undefined ? ownHome(pid, folder, places) : sharedHome(domains, pid, folder, id);
          found.set(id, { run: running(sockets, name, pid, home, undefined, status), status });
        }
        // Nobody was there when these ended. By now the name may be another's.
        for (const fork of status.endedForks ?? []) if (unanswered.has(fork)) releaseName(sockets, fork);
      }
      const folders = machines.map(({ folder }) => folder);
      const refused = all.filter(({ status, isSilent }) => status === undefined && isSilent !== true);
      const cleared = Promise.all(refused.map(({ name }) => domains.clearName(name, folders)));
      const silent = machines.filter(({ id }) => !found.has(id));
      const hasPlaces = places !== undefined && existsSync(places);
      const there = silent.length === 0 && !hasPlaces ? [] : processesThere();
      if (TELLS && hasPlaces) sweepPlaces(places, (place) => isPlaceOf(place, there));
      const beside = domains.machinesBesideAll();
      for (const { id, name, folder } of silent) {
        const process = there.find(({ words }) => isIn(folder, words));
        if (process === undefined) continue;
        const { pid, words } = process;
        const isShared = words.includes(SHARED_WORD);
        // It is there, and says that this machine is not.
        if (isShared && (await beside(folder))?.includes(id) === false) continue;
        const home = isShared ? sharedHome(domains, pid, folder, id) : ownHome(pid, folder, places);
        found.set(id, { run: running(sockets, name, pid, home), status: undefined, isShared });
      }
      await cleared;
      return found;
    },
    async endLeftover({ id, name, folder, pid }) {
      // Of a system that does not tell, the one that is remembered.
      const there = TELLS
        ? processesThere().filter(({ words }) => isIn(folder, words))
        : [{ pid: pid ?? 0, words: isLabelled(folder) ? [SHARED_WORD] : [] }];
      for (const each of there)
        if (each.words.includes(SHARED_WORD)) {
          await domains.evict(folder, id).catch(() => undefined);
          await domains.clearName(name, [folder]);
        } else await endProcess(each.pid, folder);
      // Looking is what removes a socket that nobody listens at.
      (await connectTo(sockets, name))?.destroy();
    },
    isTaken: (name) =>
      RemoteVM.find(name, sockets).then(
        () => true,
        (error: unknown) => !(error instanceof HostError && error.code === 'not-found'),
      ),
  };
}

/** Whether a run is over by now. */
export function goneOf(run: Pick<RunningMachine, 'ended'>): () => boolean {
  let isGone = false;
  void run.ended.then(() => (isGone = true));
  return () => isGone;
}

/** What a machine's process is to it. */
interface Home {
  isThere(): boolean;
  /** Whether the process says that the machine is not in it, and shall not be any more. */
  isLeft(): Promise<boolean>;
  /** Resolves when nothing is left of one that has ended. */
  cleared(): Promise<void>;
  /** As RunningMachine's. */
  kill(isAlone: () => boolean): Promise<void>;
  /** Before the machine is reached by another name. */
  renamed(machine: RemoteVM, to: string): Promise<void>;
}

/** Its own: they end together. */
function ownHome(pid: number, folder: string, places: string | undefined): Home {
  return {
    isThere: () => isProcessOf(pid, folder),
    isLeft: () => Promise.resolve(false),
    async cleared() {
      await endProcess(pid, folder, GONE_TIMEOUT_MS);
      if (places !== undefined) closePlaces(places, folder);
    },
    kill: () => endProcess(pid, folder),
    renamed: () => Promise.resolve(),
  };
}

/** That of its label: other machines run on there. */
function sharedHome(domains: DomainProcesses, pid: number, folder: string, id: string): Home {
  return {
    isThere: () => isProcessOf(pid, folder),
    isLeft: async () => (await domains.machinesBeside(folder))?.includes(id) === false,
    cleared: () => Promise.resolve(),
    kill: (isAlone) => domains.end(folder, id, isAlone),
    renamed: (machine, to) => machine.rename(to),
  };
}

/** With the forks that it has already, as it says. */
function running(
  sockets: string,
  firstName: string,
  pid: number,
  home: Home,
  began?: HowStarted,
  status?: Pick<VMStatus, 'forks' | 'forkStates'>,
): RunningMachine {
  let name = firstName;
  const remote = (): RemoteVM => RemoteVM.at(name, sockets);
  /**
   * How what is reached by the name ended. One that cannot be asked is asked again: it has no room for another connection now, or stands still, and neither
   * is its end. It is `lost` when its process is gone, or when `isOver` says so.
   */
  const untilEnd = async (nameNow: () => string, isOver: () => Promise<boolean>): Promise<RunEnd> => {
    for (let waitMs = GONE_AGAIN_MS; ; waitMs = Math.min(2 * waitMs, ASK_AGAIN_MS)) {
      const end = await RemoteVM.at(nameNow(), sockets)
        .wait()
        .catch(() => undefined);
      if (end !== undefined) return end;
      if (!home.isThere() || (await isOver())) return { kind: 'lost' };
      await sleep(waitMs, undefined, { ref: false });
    }
  };
  const ended = async (): Promise<RunEnd> => {
    const end = await untilEnd(
      () => name,
      () => home.isLeft(),
    );
    await home.cleared();
    // Its forks have ended with it, whoever has seen that already.
    releaseName(sockets, name);
    forks.release();
    return end;
  };
  const forks = new RunningForks({
    sockets,
    status: () => remote().inspect(),
    untilEnd,
    onEnd: (fork, how) => machine.onForkEnd?.(fork, how),
    onRename: (from, to) => machine.onForkRename?.(from, to),
  });
  const machine: RunningMachine = {
    pid,
    ...(began === undefined ? {} : { began }),
    ended: ended(),
    knownForks: forks.known,
    forks: async () => (await forks.heard(() => remote().inspect())).forks ?? [],
    fork: (names) => forks.make(name, names),
    ready: () => remote().ready(),
    stop: (options) => remote().stop(options),
    pause: () => remote().pause(),
    resume: () => remote().resume(),
    usage: () => remote().usage(),
    disks: () => remote().disks(),
    snapshot: (store, wanted, parent) =>
      remote().snapshot({ store, name: wanted, ...(parent === undefined ? {} : { parent }) }),
    status: () => forks.heard(() => remote().inspect()),
    migrate: (options) => remote().migrate(options),
    settle: (owner) => remote().settle(owner),
    rejoin: () => remote().rejoin(),
    letGo: (how) => remote().letGo(how),
    arrive: (migration) => remote().arrive(migration),
    processors: (input) => remote().processors(input),
    memory: (input) => remote().memory(input),
    async rename(to) {
      await takeName(sockets, socketPath(sockets, name), to);
      try {
        await home.renamed(remote(), to);
        await RemoteVM.at(to, sockets).inspect();
      } catch (error) {
        releaseName(sockets, to);
        if (!(error instanceof HostError && error.code === 'ended')) throw error;
        // Who asks its process for that one hears that it has ended.
        throw new HostError('name-taken', `a fork of the machine was called "${to}"; choose another name`);
      }
      releaseName(sockets, name);
      name = to;
    },
    kill: (isAlone = () => false) => home.kill(isAlone),
  };
  forks.watch(status?.forks, status?.forkStates);
  return machine;
}
