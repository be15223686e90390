/** How large a machine is, what runs it, how long it may take and what is told of it: options that `run` and `boot` share. */

import { MAXIMUM_MEMORY_BYTES, MINIMUM_MEMORY_BYTES, type MachineOptions } from '@ringfence/core';
import { memorySize } from '@ringfence/core/sizes';
import { timeLimit } from '../durations.ts';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';
import type { ReportOptions } from '../statistics.ts';

export interface LimitOptions extends ReportOptions {
  /** As it was typed: 512M. */
  readonly memory?: string | undefined;
  readonly timeout?: string | undefined;
  readonly engine?: MachineOptions['engine'] | undefined;
}

export interface MachineLimits {
  readonly memoryBytes: number;
  /** Empty when the machine may choose. */
  readonly engine: Pick<MachineOptions, 'engine'>;
  readonly timeoutMs: number | undefined;
}

/** What a machine has when nobody says how much, and no image does. */
export const DEFAULT_MEMORY = '512M';

export function machineLimits({
  memory = DEFAULT_MEMORY,
  timeout,
  engine: name,
  stats,
  json,
}: LimitOptions): MachineLimits {
  if (json === true && stats !== true)
    throw new CliError('--json is the form of the report that --stats gives; give both', EXIT.NO_MACHINE);
  const engine = name === undefined ? {} : { engine: name };
  const memoryBytes = memorySize(memory, MINIMUM_MEMORY_BYTES, MAXIMUM_MEMORY_BYTES);
  if (typeof memoryBytes === 'string') throw new CliError(`--memory "${memory}" ${memoryBytes}`, EXIT.NO_MACHINE);
  if (timeout === undefined) return { memoryBytes, engine, timeoutMs: undefined };
  const timeoutMs = timeLimit(timeout);
  if (typeof timeoutMs === 'string') throw new CliError(`--timeout "${timeout}" ${timeoutMs}`, EXIT.NO_MACHINE);
  return { memoryBytes, engine, timeoutMs };
}
