/** Has a process compile what the first machine in it executes, before there is one: the engine, and the thread that compiles for it. */

import { setImmediate as turn } from 'node:timers/promises';
import { Machine, MAXIMUM_DOMAIN_BYTES, rehearseMigration, warmUp } from '@ringfence/core';
import { after, nodeClock, nodeEntropy } from '../machine/ports.ts';
import { ThreadedCompiler } from '../machine/region-compiler.ts';
import { migrationClock, nodeMigrationCodec } from '../migration/node-codec.ts';
import { beginOwnInterpreter, ownInterpreters } from '../snapshot/interpreter-cache.ts';

/** Little memory, of a domain like those of machines: then it is their engine. */
const MEMORY_BYTES = 16 * 1024 ** 2;

export interface WarmProcess {
  /** For the first machine, whose it is then. */
  readonly compiler: ThreadedCompiler;
}

export async function warmProcess(): Promise<WarmProcess> {
  const compiler = new ThreadedCompiler();
  compiler.start();
  // One module for these machines and the next one: what is compiled of it stays.
  beginOwnInterpreter();
  const made = (): Promise<Machine> =>
    Machine.create({
      memoryBytes: MEMORY_BYTES,
      domainBytes: MAXIMUM_DOMAIN_BYTES,
      compiler,
      interpreters: ownInterpreters(),
      clock: nodeClock,
      entropy: nodeEntropy,
      serialOutput: { write: () => {} },
      firmware: 'own',
      blank: true,
    });
  const machine = await made();
  try {
    await warmUp(machine, () => turn());
    const other = await made();
    try {
      await rehearseMigration([machine, other], {
        clock: migrationClock,
        codec: nodeMigrationCodec(),
        turns: { soon: (callback) => void setImmediate(callback), after },
      });
    } finally {
      other.close();
    }
  } finally {
    machine.close();
  }
  return { compiler };
}
