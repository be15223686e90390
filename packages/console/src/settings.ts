/** What the page's address asks for: `?engine=interpreter&memory=256M`. */

import { MAXIMUM_MEMORY_BYTES, MINIMUM_MEMORY_BYTES } from '@ringfence/core';
import { memorySize } from '@ringfence/core/sizes';
import { ConsoleError } from './console-error.ts';
import { DEFAULT_ENGINE, ENGINES, isEngine, type EngineName } from './engines.ts';

export interface Settings {
  readonly engine: EngineName;
  /** Whole pages. */
  readonly memoryBytes: number;
}

/** Half of what `ringfence run` gives: a tab shares the browser's memory. */
const DEFAULT_MEMORY = '256M';

/** Reads the parameters of the address; a ConsoleError that says which one is wrong and what would be right. */
export function readSettings(parameters: { get(name: string): string | null }): Settings {
  const engine = parameters.get('engine') ?? DEFAULT_ENGINE;
  if (!isEngine(engine)) throw refusal('engine', engine, `is no engine; there is ${ENGINES.join(', ')}`);
  const memory = parameters.get('memory') ?? DEFAULT_MEMORY;
  const memoryBytes = memorySize(memory, MINIMUM_MEMORY_BYTES, MAXIMUM_MEMORY_BYTES);
  if (typeof memoryBytes === 'string') throw refusal('memory', memory, memoryBytes);
  return { engine, memoryBytes };
}

function refusal(name: string, value: string, problem: string): ConsoleError {
  return new ConsoleError('bad-address', `In the address of this page, ${name} "${value}" ${problem}.`);
}
