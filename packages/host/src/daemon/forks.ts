/** Forks of a machine: parts of its process, each with a name by which its socket is found, and no entry of their own. */

import { LIMITS } from '@ringfence/api';
import { HostError } from '../failure.ts';
import { checkForkNames } from '../vm/names.ts';
import type { Entry } from './entry.ts';
import type { Memory } from './memory.ts';
import type { Names } from './names.ts';

/** Begins it in the caller's turn, so that what is not allowed is refused at once; gives the work that is left, which gives their names. */
export function forkWork(
  entry: Entry,
  names: readonly string[],
  count: number,
  all: Names,
  memory: Pick<Memory, 'forking'>,
): () => Promise<readonly string[]> {
  checkForkNames(names, count);
  const over = entry.life.hold('fork', entry.name);
  return async () => {
    const taken: string[] = [];
    try {
      const { run } = entry;
      if (run === undefined) throw new HostError('ended', `the virtual machine "${entry.name}" has ended`);
      for (const name of names) taken.push(await all.take(name, entry.id));
      for (let number = 1; taken.length < count; number++) {
        const suffix = `-${number}`;
        const name = entry.name.slice(0, LIMITS.nameCharacters - suffix.length) + suffix;
        if (!(await all.isTaken(name))) taken.push(await all.take(name, entry.id));
      }
      await memory.forking(entry, count, () => run.fork(taken));
      return taken;
    } finally {
      over();
      // From then on they are found to be taken by who looks at the sockets.
      for (const name of taken) all.release(name, entry.id);
    }
  };
}
