/**
 * Random programs that run hot leave the same behind on every tier, whenever interrupts come: loops and calls of every shape, code that
 * changes, pages that come and go.
 */

import { beforeAll, describe, expect, test } from 'vitest';
import { REFERENCE_TIER, TIERS, type Tier } from '../../src/engine/testing/tiers.ts';
import { Comparison } from './compare.ts';
import { minimise } from './minimise.ts';
import type { ProgramKind } from './program.ts';
import { programOf } from './programs.ts';
import { report } from './report.ts';
import { Ringfence } from './ringfence.ts';

const FIRST_SEED = 20_261_000;
/**
 * How many of each kind. The interpreter is only compared with itself; and where everything is compiled at first sight, code that changes is
 * compiled anew each time, which takes a program up to half a minute.
 */
const PROGRAMS: Readonly<Record<Tier, Partial<Record<ProgramKind, number>>>> = {
  interpreter: { strict: 3, hot: 2, machine: 1, scenes: 1 },
  jit: { strict: 8, hot: 4, machine: 2, scenes: 2 },
  'jit-eager': { strict: 2, hot: 2, scenes: 1 },
};
/** How often an instruction of a hot program is executed, on average. */
const LEAST_HEAT = 100;

const SUBJECTS = [...TIERS.map((tier) => ({ tier, harts: 1 })), { tier: 'jit' as const, harts: 2 }];

describe.each(SUBJECTS)(
  `the ${REFERENCE_TIER} and, at other moments, the $tier for $harts hart(s)`,
  ({ tier, harts }) => {
    // One engine for all programs: what it keeps of one must not be seen by the next.
    let comparison: Comparison;
    let subject: Ringfence;
    beforeAll(async () => {
      subject = await Ringfence.create(tier, 1, harts);
      comparison = new Comparison(await Ringfence.create(REFERENCE_TIER), subject);
    });

    for (const [kind, count] of Object.entries(PROGRAMS[tier]) as [ProgramKind, number][])
      for (let seed = FIRST_SEED; seed < FIRST_SEED + count; seed++) {
        test(`agree on the ${kind} program of seed ${seed}`, async () => {
          const program = programOf[kind](seed);
          const found = await comparison.run(program);
          expect(found === undefined ? '' : report(program, await minimise(comparison, program, found))).toBe('');
          expect(subject.untranslated).toBe(0);
        });
      }
  },
);

test.each(['hot', 'strict'] as const)('%s programs execute their instructions again and again', (kind) => {
  const { instructions, used } = programOf[kind](FIRST_SEED);
  const placed = [...used.values()].reduce((sum, times) => sum + times, 0);
  expect(instructions / placed).toBeGreaterThan(LEAST_HEAT);
});
