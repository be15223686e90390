/** Random programs that are moved while they run, over links that break, leave the same behind as ones that never were. */

import { beforeAll, describe, expect, test } from 'vitest';
import { REFERENCE_TIER, type Tier } from '../../src/engine/testing/tiers.ts';
import { Comparison } from '../differential/compare.ts';
import { minimise } from '../differential/minimise.ts';
import type { ProgramKind } from '../differential/program.ts';
import { programOf } from '../differential/programs.ts';
import { report } from '../differential/report.ts';
import { Ringfence } from '../differential/ringfence.ts';
import { LostPages, MovedMachine } from './moved-machine.ts';

const FIRST_SEED = 20_261_126;
const PROGRAMS: Partial<Record<ProgramKind, number>> = { strict: 4, hot: 3, machine: 2, scenes: 2 };
const FOLLOWED: Partial<Record<ProgramKind, number>> = { strict: 3, hot: 2, machine: 1 };
const TIERS: readonly (readonly Tier[])[] = [['interpreter'], ['jit', 'interpreter']];
/**
 * No reservation moves: an SC fails where the machine has moved since its LR, as it may for any reason (Unprivileged ISA, "Load-Reserved/Store-Conditional
 * Instructions"). What such a program does from there on is another thing.
 */
const SC_FAILED = /^x\d+: .* 0x0{16}, .* 0x0{15}1$/;
/** Turns between two migrations, at most. */
const TURNS = 1;

/** Of them, the programs of these kinds and seeds, which are not lost with their pages; gives how many were. */
function comparedWith(moved: MovedMachine, programs: Partial<Record<ProgramKind, number>>): () => number {
  let comparison: Comparison;
  let lost = 0;
  beforeAll(async () => {
    comparison = new Comparison(await Ringfence.create(REFERENCE_TIER), moved);
  });
  for (const [kind, count] of Object.entries(programs) as [ProgramKind, number][])
    for (let seed = FIRST_SEED; seed < FIRST_SEED + count; seed++)
      test(`the ${kind} program of seed ${seed} runs in one place at a time and ends as if it had never moved`, async () => {
        const program = programOf[kind](seed);
        try {
          const found = await comparison.run(program);
          if (found?.lines.every((line) => SC_FAILED.test(line)) === true) return;
          expect(found === undefined ? '' : report(program, await minimise(comparison, program, found))).toBe('');
        } catch (error) {
          if (!(error instanceof LostPages)) throw error;
          lost++;
        }
      });
  return () => lost;
}

describe.each(TIERS.map((tiers) => [tiers] as const))('moved on %s', (tiers) => {
  const moved = new MovedMachine(tiers, TURNS);
  const lost = comparedWith(moved, PROGRAMS);

  test('they moved, stayed when links broke, and had pages follow', () => {
    expect(moved.stayed).toBeGreaterThan(10);
    // How many depends on how busy the computer is.
    expect(moved.moved).toBeGreaterThan(3);
    expect(moved.followed + lost()).toBeGreaterThan(0);
    expect(lost()).toBeLessThan(8);
  });
});

describe('moved on jit and interpreter, over links that break while pages follow', () => {
  const moved = new MovedMachine(['jit', 'interpreter'], TURNS, true);
  const lost = comparedWith(moved, FOLLOWED);

  test('pages came over more than one link', () => {
    expect(moved.resumed).toBeGreaterThan(3);
    expect(lost()).toBeLessThan(4);
  });
});
