/** The kinds of random program, at the size that runs. */

import { hotProgram } from './hot/program.ts';
import { machineProgram } from './machine-program.ts';
import type { Program, ProgramKind } from './program.ts';
import { sceneProgram } from './scene-program.ts';

/** The program of a kind and a seed. */
export const programOf: Readonly<Record<ProgramKind, (seed: number) => Program>> = {
  machine: (seed) => machineProgram(seed, { blocks: 100, statements: 40, rounds: 12 }),
  scenes: (seed) => sceneProgram(seed, { blocks: 12, statements: 25, scenes: 1500 }),
  hot: (seed) => hotProgram(seed, false, { instructions: 1_500_000 }),
  strict: (seed) => hotProgram(seed, true, { instructions: 1_500_000 }),
};

export const PROGRAM_KINDS = Object.keys(programOf) as readonly ProgramKind[];
