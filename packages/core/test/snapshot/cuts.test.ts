/** Random programs that are cut by snapshots at random points leave the same behind as uncut ones. */

import { beforeAll, describe, expect, test } from 'vitest';
import { REFERENCE_TIER, type Tier } from '../../src/engine/testing/tiers.ts';
import { Comparison } from '../differential/compare.ts';
import { minimise } from '../differential/minimise.ts';
import type { ProgramKind } from '../differential/program.ts';
import { programOf } from '../differential/programs.ts';
import { report } from '../differential/report.ts';
import { Ringfence } from '../differential/ringfence.ts';
import { CutMachine } from './cut-machine.ts';

const FIRST_SEED = 20_261_100;
const PROGRAMS: Partial<Record<ProgramKind, number>> = { strict: 2, hot: 2, machine: 1, scenes: 1 };
const TIERS: readonly (readonly Tier[])[] = [['interpreter'], ['jit', 'interpreter']];
/** Turns between two cuts, at most. */
const TURNS = 5;

describe.each(TIERS.map((tiers) => [tiers] as const))('cut by snapshots on %s', (tiers) => {
  let comparison: Comparison;
  const cut = new CutMachine(tiers, TURNS);
  beforeAll(async () => {
    comparison = new Comparison(await Ringfence.create(REFERENCE_TIER), cut);
  });

  for (const [kind, count] of Object.entries(PROGRAMS) as [ProgramKind, number][])
    for (let seed = FIRST_SEED; seed < FIRST_SEED + count; seed++)
      test(`the ${kind} program of seed ${seed} ends as if it had never been`, async () => {
        const program = programOf[kind](seed);
        const found = await comparison.run(program);
        expect(found === undefined ? '' : report(program, await minimise(comparison, program, found))).toBe('');
      });

  test('were cut again and again, and some snapshots built on others', () => {
    expect(cut.cuts).toBeGreaterThan(12);
    expect(cut.increments).toBeGreaterThan(3);
  });
});
