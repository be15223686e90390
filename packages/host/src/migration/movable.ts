/** What keeps a virtual machine where it is. */

import { HostError } from '../failure.ts';

/** Throws `unsupported`: forks share the memory of their machine, and would stay behind without it. */
export function checkMovable(name: string, forks: number): void {
  if (forks > 0)
    throw new HostError(
      'unsupported',
      `the virtual machine "${name}" has ${forks === 1 ? 'a fork' : `${forks} forks`}, which cannot move; it moves when they have ended`,
    );
}
