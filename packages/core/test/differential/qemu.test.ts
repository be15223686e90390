/** Random programs leave the same registers, flags, memory and traps behind on QEMU and on every tier of our engine. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TIERS } from '../../src/engine/testing/tiers.ts';
import { instructions } from '../../src/isa/instructions.ts';
import { Comparison } from './compare.ts';
import { minimise } from './minimise.ts';
import type { ProgramKind } from './program.ts';
import { programOf } from './programs.ts';
import { Qemu, whatIsMissing } from './qemu.ts';
import { report } from './report.ts';
import { Ringfence } from './ringfence.ts';

const FIRST_SEED = 20_260_000;
const LEAST_INSTRUCTIONS = 1_000_000;
/** Of each kind; fewer where everything is compiled at first sight, which takes ten times as long. */
const PROGRAMS: readonly (readonly [ProgramKind, number, number])[] = [
  ['machine', 6, 2],
  ['scenes', 6, 3],
  ['hot', 4, 4],
];

/** In CI QEMU must be there. */
const absent = process.env['CI'] === undefined ? whatIsMissing() : undefined;
const reason = absent === undefined ? '' : `: ${absent}`;

describe.each(TIERS)('QEMU and %s', (tier) => {
  let qemu: Qemu;
  let ringfence: Ringfence;
  let executed = 0;
  const used = new Set<string>();

  beforeAll(async () => {
    qemu = new Qemu();
    ringfence = await Ringfence.create(tier);
  });
  afterAll(() => qemu.close());

  for (const [kind, count, eager] of PROGRAMS)
    for (let seed = FIRST_SEED; seed < FIRST_SEED + (tier === 'jit-eager' ? eager : count); seed++) {
      test.skipIf(absent !== undefined)(`agree on the ${kind} program of seed ${seed}${reason}`, async () => {
        const program = programOf[kind](seed);
        executed += program.instructions;
        for (const name of program.used.keys()) used.add(name);
        const comparison = new Comparison(qemu, ringfence);
        const found = await comparison.run(program);
        expect(found === undefined ? '' : report(program, await minimise(comparison, program, found))).toBe('');
      });
    }

  test.skipIf(absent !== undefined)('ran enough to mean something, of every instruction', () => {
    expect(executed).toBeGreaterThan(LEAST_INSTRUCTIONS);
    expect(instructions.map(({ name }) => name).filter((name) => !used.has(name))).toEqual([]);
  });
});
