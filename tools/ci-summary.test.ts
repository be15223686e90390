import { expect, test } from 'vitest';
import { type Report, summary, totalsOf } from './ci-summary.ts';

const passing: Report = {
  success: true,
  numPassedTests: 12,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults: [{ status: 'passed', assertionResults: [{ status: 'passed' }] }],
};
const failing: Report = {
  ...passing,
  success: false,
  numPassedTests: 10,
  numFailedTests: 2,
  testResults: [{ status: 'failed', assertionResults: [{ status: 'failed' }, { status: 'failed' }] }],
};
const unloadable: Report = { ...passing, success: false, testResults: [{ status: 'failed', assertionResults: [] }] };

test.each<[situation: string, report: Report | undefined, failedSteps: number, line: string]>([
  ['everything passed', passing, 0, '12 passed, 0 failed'],
  ['some tests were skipped', { ...passing, numPendingTests: 2, numTodoTests: 1 }, 0, '12 passed, 0 failed, 3 skipped'],
  ['tests failed', failing, 1, '10 passed, 2 failed'],
  ['tests and a check failed', failing, 2, '10 passed, 3 failed'],
  ['only a check failed', passing, 1, '12 passed, 1 failed'],
  ['a test file could not be loaded', unloadable, 1, '12 passed, 1 failed'],
  ['vitest failed for no test', { ...passing, success: false }, 0, '12 passed, 1 failed'],
  ['no test ran', undefined, 0, '0 passed, 1 failed'],
  ['no test ran and two steps failed', undefined, 2, '0 passed, 2 failed'],
])('when %s the line says so', (_situation, report, failedSteps, line) => {
  expect(summary(totalsOf(report, failedSteps))).toBe(line);
});
