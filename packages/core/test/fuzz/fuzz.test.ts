import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { TARGETS } from './targets.ts';

/** As many cases of each target as take a second or two; `npm run fuzz` goes on where this ends. */
const CASES: Readonly<Record<string, number>> = { memory: 100, qcow2: 150, migration: 30 };
const CASES_OF_A_DEVICE = 150;

test.each(TARGETS)('$name: whatever a guest does, its host goes on', async ({ device, property }) => {
  const outcome = await fc.check(property(), { numRuns: CASES[device] ?? CASES_OF_A_DEVICE });
  expect(outcome.failed ? `${fc.defaultReportMessage(outcome)}\n${String(outcome.errorInstance)}` : '').toBe('');
});
