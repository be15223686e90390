/**
 * The last line of a CI run: `N passed, N failed` and, where there are some, `, N skipped`. `node tools/ci-summary.ts FAILED_STEPS`
 * counts the tests in vitest's report; steps that failed without a failed test to show for it count as one failure each.
 */

import { readFileSync } from 'node:fs';

/** The part of vitest's JSON report that matters here. */
export interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  /** One per test file. A file that could not even be loaded has failed without a single test. */
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** `report` is undefined when the tests did not get as far as writing one. */
export function totalsOf(report: Report | undefined, failedSteps: number): Totals {
  if (report === undefined) return { passed: 0, failed: Math.max(1, failedSteps), skipped: 0 };
  const brokenFiles = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
  ).length;
  const failedTests = report.numFailedTests + brokenFiles;
  // A failed test makes its step fail too; that is one failure, not two.
  const otherSteps = failedTests > 0 ? failedSteps - 1 : failedSteps;
  const unexplained = !report.success && failedTests === 0 && failedSteps === 0 ? 1 : 0;
  return {
    passed: report.numPassedTests,
    failed: failedTests + Math.max(0, otherSteps) + unexplained,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

export function summary({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function readReport(): Report | undefined {
  try {
    return JSON.parse(readFileSync('build/test-results.json', 'utf8')) as Report;
  } catch {
    return undefined;
  }
}

if (import.meta.main) {
  const totals = totalsOf(readReport(), Number(process.argv[2] ?? 0));
  console.log(summary(totals));
  if (totals.failed > 0) process.exitCode = 1;
}
