/** `ringfence fork`: makes machines that go on from where one is that runs. */

import process from 'node:process';
import { connectDaemon } from '@ringfence/host/daemon-client';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import { reported } from './daemon/report.ts';
import { findMachine } from './find-machine.ts';

export interface ForkOptions {
  /** As they were typed. */
  readonly count?: string;
  readonly name?: readonly string[];
}

/** Writes the forks' names, a line each. */
export async function forkMachine(name: string, { count, name: names = [] }: ForkOptions): Promise<number> {
  const wanted = count === undefined ? Math.max(names.length, 1) : Number(count);
  if (!Number.isInteger(wanted) || wanted < 1)
    throw new CliError(`--count "${count}" is no number of forks; write one from 1 on`, EXIT.FAILED);
  const vm = await findMachine(name, EXIT.FAILED);
  const { id } = await vm.inspect();
  // One that the daemon keeps.
  if (id !== undefined)
    return reported({}, async () => {
      const { made = [] } = await connectDaemon().run('vm.fork', { vm: id, count: wanted, names: [...names] });
      for (const fork of made) process.stdout.write(`${fork}\n`);
    });
  for (const made of await vm.fork({ count: wanted, names })) process.stdout.write(`${made}\n`);
  return EXIT.OK;
}
