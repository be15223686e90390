import { expect, test } from 'vitest';
import { geometricMean, median } from './statistics.ts';

test.each<[values: number[], middle: number]>([
  [[3], 3],
  [[9, 1, 4], 4],
  [[10, 9, 100], 10],
  [[4, 1], 2.5],
  [[1, 2, 3, 100], 2.5],
])('the median of %j is %d', (values, middle) => {
  expect(median(values)).toBe(middle);
});

test('the median leaves the order of its figures alone', () => {
  const values = [3, 1, 2];
  median(values);
  expect(values).toEqual([3, 1, 2]);
});

test('a half and a double make one', () => {
  expect(geometricMean([0.5, 2])).toBeCloseTo(1);
  expect(geometricMean([0.25])).toBeCloseTo(0.25);
});

test('nothing has neither a median nor a mean', () => {
  expect(() => median([])).toThrow('no median');
  expect(() => geometricMean([])).toThrow('no mean');
});
