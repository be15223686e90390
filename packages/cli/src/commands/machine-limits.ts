/** How large a machine is and how long it may take: options that `run` and `boot` share. */

import { MAXIMUM_MEMORY_BYTES, MINIMUM_MEMORY_BYTES } from '@ringfence/core';
import { memorySize } from '@ringfence/core/sizes';
import { timeLimit } from '../durations.ts';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';

export interface LimitOptions {
  /** As it was typed: 512M. */
  readonly memory: string;
  readonly timeout?: string | undefined;
}

export interface MachineLimits {
  readonly memoryBytes: number;
  readonly timeoutMs: number | undefined;
}

export function machineLimits({ memory, timeout }: LimitOptions): MachineLimits {
  const memoryBytes = memorySize(memory, MINIMUM_MEMORY_BYTES, MAXIMUM_MEMORY_BYTES);
  if (typeof memoryBytes === 'string') throw new CliError(`--memory "${memory}" ${memoryBytes}`, EXIT.NO_MACHINE);
  if (timeout === undefined) return { memoryBytes, timeoutMs: undefined };
  const timeoutMs = timeLimit(timeout);
  if (typeof timeoutMs === 'string') throw new CliError(`--timeout "${timeout}" ${timeoutMs}`, EXIT.NO_MACHINE);
  return { memoryBytes, timeoutMs };
}
