/** What processes of machines do alike, be they of one machine or of those of a label: what they give up, and memory whose size the daemon says. */

import type { Server } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { MOST_POOL_BYTES } from '@ringfence/core';
import { holdDatabases } from '../disk/disk-lock.ts';
import { giveUp } from '../machine/permissions.ts';
import { withdraw } from '../machine/withdrawal.ts';
import { VMDomain, type VMDomainOptions } from '../vm/vm-domain.ts';

/** Gives up what nobody needs: also before a guest runs in a process that is no machine's, has no threads yet and has no `server`. */
export function giveUpUnneeded(server?: Server): void {
  giveUp('child', 'inspector');
  holdDatabases();
  withdraw(server);
}

/** Gives up what is not needed by who has all of its threads, and listens. */
export async function giveUpTheRest(server: Server, hasNetwork: boolean): Promise<void> {
  // The first turn starts the threads that execute harts, or compile.
  await turn();
  await turn();
  giveUp('worker');
  if (!hasNetwork) giveUp('net');
  giveUpUnneeded(server);
}

export interface DomainMake extends Pick<VMDomainOptions, 'label' | 'cpus'> {
  readonly engine: VMDomainOptions['engine'] | undefined;
  /** Undefined where its machines have all of their memory. */
  readonly poolBytes: number | undefined;
  /** For what is paged out, where there is a pool. */
  readonly pagingFolder: string;
}

/** A memory domain of this process, which says what there is to say where the process does. */
export function domainOf({ engine, poolBytes, pagingFolder, ...make }: DomainMake): Promise<VMDomain> {
  return VMDomain.create({
    ...make,
    ...(engine === undefined ? {} : { engine }),
    ...(poolBytes === undefined ? {} : { memory: Math.min(poolBytes, MOST_POOL_BYTES), pagingFolder }),
    log: { log: (level, area, text) => console.error(`${level}: ${area}: ${text}`) },
  });
}
