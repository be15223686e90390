/**
 * The engines that a page can be asked for with `?engine=NAME`, and what each one is to a machine. This is the one list: what is added
 * here can be chosen, and the boot test runs on it.
 */

import type { MachineOptions } from '@ringfence/core';

const OPTIONS = {
  jit: { engine: 'jit' },
  interpreter: { engine: 'interpreter' },
} as const satisfies Readonly<Record<string, Partial<MachineOptions>>>;

export type EngineName = keyof typeof OPTIONS;

export const ENGINES = Object.keys(OPTIONS) as readonly EngineName[];
export const DEFAULT_ENGINE: EngineName = 'jit';

export function isEngine(name: string): name is EngineName {
  return Object.hasOwn(OPTIONS, name);
}

/** What a machine is made with to run on this engine. */
export function engineOptions(name: EngineName): Partial<MachineOptions> {
  return OPTIONS[name];
}
