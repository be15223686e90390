import { expect, test } from 'vitest';
import { reportLine, reportOf } from './machine-report.ts';
import { sampleLine, sampleOf } from './machine-sample.ts';

const report = {
  ending: 'poweroff',
  statistics: { instructions: 3 },
  marks: [{ line: 'END', instructions: 2, atMs: 1 }],
};
const sample = { statistics: { instructions: 3 }, heapUsedBytes: 1, externalBytes: 2 };

test('a report and a sample come through the lines of stderr', () => {
  expect(reportOf(reportLine(report))).toEqual(report);
  expect(sampleOf(sampleLine(sample))).toEqual(sample);
});

test('neither is taken for the other, and no other line for one of them', () => {
  expect(reportOf(sampleLine(sample))).toBeUndefined();
  expect(sampleOf(reportLine(report))).toBeUndefined();
  expect(sampleOf('(node:1) Warning: something')).toBeUndefined();
});
