/** Random programs leave the same registers, flags, memory and traps behind on Ringfence and on QEMU. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareSeed } from './compare.ts';
import { Qemu, whatIsMissing } from './emulators.ts';

/** Each has between 100 000 and 200 000 instructions besides its output. */
const PROGRAMS = 18;
const FIRST_SEED = 20_260_000;
const LEAST_INSTRUCTIONS = 1_000_000;

/** In CI QEMU must be there. */
const absent = process.env['CI'] === undefined ? whatIsMissing() : undefined;
let qemu: Qemu;
let instructions = 0;

beforeAll(() => {
  qemu = new Qemu();
});
afterAll(() => qemu.close());

for (let seed = FIRST_SEED; seed < FIRST_SEED + PROGRAMS; seed++) {
  test.skipIf(absent !== undefined)(
    `QEMU agrees with the random program of seed ${seed}${absent === undefined ? '' : `: ${absent}`}`,
    async () => {
      const outcome = await compareSeed(qemu, seed);
      instructions += outcome.instructions;
      expect(outcome.found.join('\n  ')).toBe('');
    },
  );
}

test.skipIf(absent !== undefined)('the random programs were long enough to mean something', () => {
  expect(instructions).toBeGreaterThan(LEAST_INSTRUCTIONS);
});
