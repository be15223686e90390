/** Whether every run computed the same. A fast wrong answer is no answer. */

import type { Program } from './programs.ts';

export interface CheckedResult {
  readonly name: string;
  readonly check: string;
}

export interface CheckedRun {
  readonly label: string;
  /** Native runs give another check where the program says so. */
  readonly isNative: boolean;
  readonly results: readonly CheckedResult[];
}

/** One sentence per disagreement, and per result that a guest did not give. */
export function disagreements(programs: readonly Program[], runs: readonly CheckedRun[]): string[] {
  return programs.flatMap(({ results, sameNatively }) =>
    results.flatMap((name) => {
      const answers = runs
        .filter(({ isNative }) => sameNatively || !isNative)
        .map(({ label, isNative, results: given }) => ({
          label,
          isNative,
          check: given.find((result) => result.name === name)?.check,
        }));
      const missing = answers
        .filter(({ isNative, check }) => check === undefined && !isNative)
        .map(({ label }) => `${name} gave no result on ${label}.`);
      const known = answers.filter(({ check }) => check !== undefined);
      const isAgreed = new Set(known.map(({ check }) => check)).size <= 1;
      const said = known.map(({ label, check }) => `${check} on ${label}`).join(', ');
      return isAgreed ? missing : [...missing, `${name} has different checks: ${said}.`];
    }),
  );
}
