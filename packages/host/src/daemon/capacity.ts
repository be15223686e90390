/** What this computer has that machines may have, and what of a wish for it cannot be. */

import { availableParallelism, totalmem } from 'node:os';
import process from 'node:process';
import { formatSize } from '@ringfence/core/sizes';
import { HostError } from '../failure.ts';

/** What a limit of a container or a service leaves of its memory, where there is one; where there is none that is said as 0, or as more than there is. */
export const hostBytes = (): number => Math.min(totalmem(), process.constrainedMemory() || Infinity);

/** Of its processors, in percent of one; a limit of a container or a service counts, and to which processors this process is bound. */
export const hostProcessors = (): number => 100 * availableParallelism();

/** Throws `bad-argument`, with the figures, when machines are to have more together than there is: what is reserved of that could not be met. */
export function checkCapacity(processorCapacity: number | undefined, memoryCapacity: number | undefined): void {
  if (processorCapacity !== undefined && processorCapacity > hostProcessors())
    throw new HostError(
      'bad-argument',
      `machines cannot have ${processorCapacity} % of a processor together: there are ${hostProcessors()} % here`,
    );
  if (memoryCapacity !== undefined && memoryCapacity > hostBytes())
    throw new HostError(
      'bad-argument',
      `machines cannot have ${formatSize(memoryCapacity)} of memory together: there are ${formatSize(hostBytes())} here`,
    );
}
