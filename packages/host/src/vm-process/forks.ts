/**
 * Forks of a machine in its process: they share its memory, and so its process and its end. The daemon lets them be found by names that lead to the
 * machine's own socket; who asks says by which name it came.
 */

import type { ServedByName, ServedVM } from '../control/server.ts';
import { HostError } from '../failure.ts';
import { servedBy } from '../vm/served.ts';
import type { VM } from '../vm/vm.ts';

/**
 * Names of forks that have ended and are told from the machine's own. A name leads here no longer than until the daemon has seen that its fork has
 * ended: of so many, the oldest is gone long since.
 */
export const MAXIMUM_ENDED_NAMES = 4096;

export interface ServedForks {
  readonly served: ServedByName;
  /** Of those that have not ended. */
  readonly names: readonly string[];
  /** Whether a fork has that name, or had it and has ended. */
  knows(name: string): 'lives' | 'ended' | undefined;
  /** Resolves when there is none any more. */
  end(): Promise<void>;
}

/** Answers for a machine of that id and folder, which may still be made, and for its forks; `label` is that of those which it shares its process with. */
export function servedWithForks(
  made: () => Promise<VM>,
  { id, folder, label }: { readonly id: string; readonly folder: string; readonly label?: string },
): ServedForks {
  const forks = new Map<string, VM>();
  /** Names that lead here still and to nobody. */
  const ended = new Set<string>();
  const own: ServedVM = {
    ...servedBy(made),
    status: async () => ({
      ...(await made()).status(),
      id,
      folder,
      ...(label === undefined ? {} : { label }),
      forks: [...forks.keys()],
      endedForks: [...ended],
    }),
    async fork(options) {
      const born = await (await made()).fork(options);
      for (const fork of born) {
        forks.set(fork.name, fork);
        ended.delete(fork.name);
        const forget = (): void => {
          forks.delete(fork.name);
          ended.add(fork.name);
          const [oldest = ''] = ended;
          if (ended.size > MAXIMUM_ENDED_NAMES) ended.delete(oldest);
        };
        fork.ended.then(forget, forget);
      }
      // Those that do not take commands are none.
      try {
        await Promise.all(born.map((fork) => fork.ready()));
      } catch (error) {
        await Promise.all(born.map((fork) => fork.kill()));
        throw error;
      }
      return born.map(({ name }) => name);
    },
  };
  return {
    served(name) {
      if (name !== undefined && ended.has(name))
        throw new HostError('ended', `the virtual machine "${name}" has ended`);
      const fork = name === undefined ? undefined : forks.get(name);
      // One that was renamed is asked for by a name that its process never heard.
      return fork === undefined ? own : { ...fork.served, fork: refused };
    },
    get names() {
      return [...forks.keys()];
    },
    knows: (name) => (forks.has(name) ? 'lives' : ended.has(name) ? 'ended' : undefined),
    end: async () => void (await Promise.all([...forks.values()].map((fork) => fork.kill()))),
  };
}

function refused(): Promise<never> {
  return Promise.reject(new HostError('unsupported', 'a fork of a machine that the daemon keeps is not forked again'));
}
