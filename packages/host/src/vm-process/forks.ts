/**
 * Forks of a machine in its process, and forks of these: they share its memory, and so its process and its end. The daemon lets them be found by names
 * that lead to the machine's own socket; who asks says by which name it came.
 */

import type { VMStatus } from '../control/operations.ts';
import type { ServedByName, ServedVM } from '../control/server.ts';
import { hasEnded, HostError } from '../failure.ts';
import { servedBy } from '../vm/served.ts';
import type { VM } from '../vm/vm.ts';
import { moved } from './places.ts';

/**
 * Names of forks that have ended, or have another one, and are told from the machine's own. A name leads here no longer than until the daemon has seen
 * that its fork has ended: of so many, the oldest is gone long since.
 */
export const MAXIMUM_ENDED_NAMES = 4096;

export interface ServedForks {
  readonly served: ServedByName;
  /** Of those that have not ended. */
  readonly names: readonly string[];
  /** How many these are. */
  readonly count: number;
  /** Whether a fork has that name, or had it and has it no more. */
  knows(name: string): 'lives' | 'ended' | undefined;
  /** Resolves when there is none any more. */
  end(): Promise<void>;
}

interface ServedMachine {
  readonly id: string;
  readonly folder: string;
  /** Where the process reaches that, if elsewhere. */
  readonly place?: string | undefined;
  readonly label?: string;
}

/** Answers for a machine of that id and folder, which may still be made, and for its forks; `label` is that of those which it shares its process with. */
export function servedWithForks(
  made: () => Promise<VM>,
  { id, folder, place = folder, label }: ServedMachine,
): ServedForks {
  const forks = new Map<string, VM>();
  /** Names that lead here still and to nobody. */
  const ended = new Set<string>();
  let isOver = false;
  const left = (name: string): void => {
    forks.delete(name);
    ended.add(name);
    const [oldest = ''] = ended;
    if (ended.size > MAXIMUM_ENDED_NAMES) ended.delete(oldest);
  };
  const found = (name: string, fork: VM): void => {
    forks.set(name, fork);
    ended.delete(name);
  };
  const forked = async (parent: VM, options: Parameters<ServedVM['fork']>[0]): Promise<string[]> => {
    const born = await parent.fork(options);
    for (const fork of born) {
      found(fork.name, fork);
      const forget = (): void => left(fork.name);
      fork.ended.then(forget, forget);
    }
    // Those that do not take commands are none, nor are those whose machine has ended meanwhile.
    try {
      if (isOver) throw new HostError('ended', 'the machine of the forks has ended');
      await Promise.all(born.map((fork) => fork.ready()));
    } catch (error) {
      await Promise.all(born.map((fork) => fork.kill()));
      throw error;
    }
    return born.map(({ name }) => name);
  };
  // Who asks does not know where the process reaches the folder.
  const inPlace = (machine: ServedVM): Pick<ServedVM, 'snapshot'> => ({
    snapshot: async ({ store, ...options }) => {
      const { path, ...taken } = await machine.snapshot({ ...options, store: moved(store, folder, place) });
      return { ...taken, path: moved(path, place, folder) };
    },
  });
  const machine = servedBy(made);
  const own: ServedVM = {
    ...machine,
    status: async () => ({
      ...(await made()).status(),
      id,
      folder,
      ...(label === undefined ? {} : { label }),
      forks: [...forks.keys()],
      forkStates: statesOf(forks),
      endedForks: [...ended],
    }),
    ...inPlace(machine),
    fork: async (options) => forked(await made(), options),
  };
  const servedFork = (fork: VM): ServedVM => ({
    ...fork.served,
    ...inPlace(fork.served),
    status: () => ({ ...fork.status(), forkOf: id }),
    fork: (options) => forked(fork, options),
    rename(to) {
      const { name } = fork;
      if (name === to) return;
      if (forks.has(to)) throw new HostError('name-taken', `another fork of its machine is called "${to}"`);
      fork.rename(to);
      left(name);
      found(to, fork);
    },
  });
  return {
    served(name) {
      if (name !== undefined && ended.has(name)) throw hasEnded(name);
      const fork = name === undefined ? undefined : forks.get(name);
      // A machine that was renamed is asked for by a name that its process never heard.
      return fork === undefined ? own : servedFork(fork);
    },
    get names() {
      return [...forks.keys()];
    },
    get count() {
      return forks.size;
    },
    knows: (name) => (forks.has(name) ? 'lives' : ended.has(name) ? 'ended' : undefined),
    async end() {
      isOver = true;
      await Promise.all([...forks.values()].map((fork) => fork.kill()));
    },
  };
}

function statesOf(forks: ReadonlyMap<string, VM>): NonNullable<VMStatus['forkStates']> {
  const all = [...forks].map(([name, fork]) => {
    const { state, isChanging } = fork.status();
    return [name, { state, ...(isChanging === true ? { isChanging } : {}) }] as const;
  });
  return Object.fromEntries(all.filter(([, { state, isChanging }]) => state !== 'running' || isChanging === true));
}
