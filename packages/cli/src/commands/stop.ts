/** `ringfence stop`: shuts virtual machines down, one or several at once. */

import { existsSync } from 'node:fs';
import process from 'node:process';
import { ApiError } from '@ringfence/api/errors';
import { connectDaemon, daemonSocket } from '@ringfence/host/daemon-client';
import { timeLimit } from '../durations.ts';
import { EXIT } from '../exit-codes.ts';
import { CliError, describeFailure } from '../failure.ts';
import { findMachine } from './find-machine.ts';
import { say } from './say.ts';

export interface StopOptions {
  /** As it was typed. */
  readonly timeout: string;
}

export async function stopMachines(names: readonly string[], { timeout }: StopOptions): Promise<number> {
  const timeoutMs = /^0+(?:ms|s|m)?$/.test(timeout) ? 0 : timeLimit(timeout);
  if (typeof timeoutMs === 'string') throw new CliError(`--timeout "${timeout}" ${timeoutMs}`, EXIT.FAILED);
  const codes = await Promise.all([...new Set(names)].map((name) => stopOne(name, timeoutMs)));
  return Math.max(...codes);
}

/** Lets the daemon do it where one runs and keeps the machine, so that it knows of it; false where not. */
async function stoppedByDaemon(name: string, timeoutMs: number): Promise<boolean> {
  if (!existsSync(daemonSocket())) return false;
  try {
    await connectDaemon().run('vm.stop', { vm: name, timeoutMs });
    return true;
  } catch (error) {
    if (error instanceof ApiError && (error.code === 'not-found' || error.code === 'unavailable')) return false;
    throw error;
  }
}

async function stopOne(name: string, timeoutMs: number): Promise<number> {
  try {
    if (!(await stoppedByDaemon(name, timeoutMs))) {
      const vm = await findMachine(name, EXIT.FAILED);
      const how = await vm.stop({ timeoutMs });
      if (how === 'forced' && timeoutMs > 0) say(`"${name}" did not shut down in time and was ended as it was`);
    }
    process.stdout.write(`${name}\n`);
    return EXIT.OK;
  } catch (error) {
    const { text, exitCode } = describeFailure(error, EXIT.FAILED);
    say(text);
    return exitCode;
  }
}
