/** How the sides are started: the same machine, kernel, initrd and command line. Which of Ringfence's engines ran. */

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { EngineCommand } from './guest-run.ts';
import { builtHeap, type ProgramStart } from './heap-start.ts';
import type { EngineName } from './targets.ts';

export interface Guest {
  readonly kernelPath: string;
  readonly initrdPath: string;
  readonly commandLine: string;
}

/** `default` is the one that a machine gets when nobody asks for another. */
export type EngineChoice = EngineName | 'default';

const ENGINE_CHOICES: Readonly<Record<string, readonly EngineChoice[]>> = {
  default: ['default'],
  interpreter: ['interpreter'],
  jit: ['jit'],
  both: ['interpreter', 'jit'],
};

/** The engines that the word of `--engine` stands for; an Error that lists the words when it is none of them. */
export function enginesOf(word: string): readonly EngineChoice[] {
  const engines = Object.hasOwn(ENGINE_CHOICES, word) ? ENGINE_CHOICES[word] : undefined;
  if (engines === undefined) {
    throw new Error(`There is no engine called ${word}. The engines are: interpreter, jit, or both.`);
  }
  return engines;
}

/**
 * The engine that the counters of a machine (Machine.statistics) are of: the JIT counted something, or there is none. An Error when it is
 * not the one that was asked for: its figures would stand under the wrong name.
 */
export function engineThatRan(asked: EngineChoice, statistics: Readonly<Record<string, number>>): EngineName {
  const ran = Object.entries(statistics).some(([name, count]) => name.startsWith('jit.') && count > 0)
    ? 'jit'
    : 'interpreter';
  if (asked !== 'default' && asked !== ran) {
    throw new Error(`The ${asked} was asked for, but the ${ran} ran: this Ringfence may have no other.`);
  }
  return ran;
}

export const MEMORY_MIB = 512;
export const QEMU = 'qemu-system-riscv64';

/** One hart, no device that is not asked for, QEMU's own firmware in front of the kernel. */
export function qemuCommand({ kernelPath, initrdPath, commandLine }: Guest): EngineCommand {
  return {
    label: 'QEMU',
    program: QEMU,
    // oxfmt-ignore
    programArguments: [
      '-M', 'virt', '-smp', '1', '-m', String(MEMORY_MIB),
      '-nodefaults', '-no-reboot', '-display', 'none', '-monitor', 'none', '-serial', 'stdio',
      '-kernel', kernelPath, '-initrd', initrdPath, '-append', commandLine,
    ],
  };
}

const LAUNCH = join(import.meta.dirname, 'launch.js');
const MACHINE = 'ringfence-machine';

/** Out of its sources. Node is started as the launcher does it. */
export const RINGFENCE_MACHINE: ProgramStart = {
  program: process.execPath,
  programArguments: [LAUNCH, join(import.meta.dirname, `${MACHINE}.ts`)],
};

/**
 * The same as a user gets it (packages/cli/bin/ringfence): Node begins with a heap that has the program and its interpreter in it, as `npm ci` makes one
 * for `ringfence run`. Builds it into `folder`, relative to the repository.
 */
export async function builtMachine(folder: string): Promise<ProgramStart> {
  // Where there are two processors V8 gets one thread for compiling, as the launcher has it.
  const threads = availableParallelism() <= 2 ? ['--v8-pool-size=1'] : [];
  return builtHeap(MACHINE, folder, {}, threads);
}

export function ringfenceCommand(
  engine: EngineChoice,
  machine: ProgramStart,
  { kernelPath, initrdPath, commandLine }: Guest,
): EngineCommand {
  return {
    label: `Ringfence (${engine})`,
    ...machine,
    programArguments: [
      ...machine.programArguments,
      engine,
      String(MEMORY_MIB * 1024 ** 2),
      kernelPath,
      initrdPath,
      commandLine,
    ],
  };
}
