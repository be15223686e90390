/** `ringfence stop`: shuts virtual machines down, one or several at once. */

import process from 'node:process';
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

async function stopOne(name: string, timeoutMs: number): Promise<number> {
  try {
    const vm = await findMachine(name, EXIT.FAILED);
    const how = await vm.stop({ timeoutMs });
    process.stdout.write(`${name}\n`);
    if (how === 'forced' && timeoutMs > 0) say(`"${name}" did not shut down in time and was ended as it was`);
    return EXIT.OK;
  } catch (error) {
    const { text, exitCode } = describeFailure(error, EXIT.FAILED);
    say(text);
    return exitCode;
  }
}
