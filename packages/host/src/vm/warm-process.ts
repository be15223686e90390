/** Has a process compile what the first machine in it executes, before there is one: the engine, and the thread that compiles for it. */

import { setImmediate as turn } from 'node:timers/promises';
import { Machine, MAXIMUM_DOMAIN_BYTES, warmUp } from '@ringfence/core';
import { nodeClock, nodeEntropy } from '../machine/ports.ts';
import { ThreadedCompiler } from '../machine/region-compiler.ts';
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
  // One module for this machine and the next one: what is compiled of it stays.
  beginOwnInterpreter();
  const machine = await Machine.create({
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
  await warmUp(machine, () => turn());
  machine.close();
  return { compiler };
}
