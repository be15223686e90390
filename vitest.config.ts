/**
 * How tests run. `unit` tests lie beside the code, take seconds and are part of `npm run ok`; `slow` ones boot real systems or compare
 * with other emulators for minutes. `npm test` runs both.
 */

import { defineConfig } from 'vitest/config';

const SLOW = ['packages/**/*.slow.test.ts', 'packages/*/test/**/*.test.ts'];
const NOT_SOURCE = ['**/node_modules/**', '**/dist/**'];

/** A unit test that takes longer hangs; a slow one has its own, shorter limit inside where it can. */
const UNIT_TIMEOUT_MS = 20_000;
const SLOW_TIMEOUT_MS = 300_000;

export default defineConfig({
  test: {
    // A virtual machine keeps a core busy; more workers than cores only make tests time out.
    maxWorkers: 2,
    reporters: process.env['CI'] === undefined ? ['default'] : ['default', 'json'],
    // Read by tools/ci-summary.ts.
    outputFile: { json: 'build/test-results.json' },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/*/{src,bin}/**/*.test.ts', 'tools/**/*.test.ts'],
          exclude: [...NOT_SOURCE, ...SLOW],
          testTimeout: UNIT_TIMEOUT_MS,
          hookTimeout: UNIT_TIMEOUT_MS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'slow',
          include: SLOW,
          exclude: NOT_SOURCE,
          testTimeout: SLOW_TIMEOUT_MS,
          hookTimeout: SLOW_TIMEOUT_MS,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
