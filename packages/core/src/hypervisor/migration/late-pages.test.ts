import { expect, test } from 'vitest';
import { LATE_BATCH_PAGES, LatePages } from './late-pages.ts';

test('each page follows once, in order, from the one that was asked for last on', () => {
  const pages = [1, 2, 3, 50, 51, 90];
  const late = new LatePages(pages, 100);
  expect([late.size, late.has(50), late.has(52)]).toEqual([6, true, false]);
  expect(late.takeFrom(50)).toEqual([50, 51]);
  expect(late.takeFrom(50)).toEqual([]);
  expect(late.take()).toEqual([90, 1, 2, 3]);
  expect([late.take(), late.size]).toEqual([[], 0]);
});

test('one that is asked for brings the next ones along, and no more', () => {
  const late = new LatePages(
    Array.from({ length: 100 }, (_, index) => index),
    100,
  );
  expect(late.takeFrom(95)).toEqual([95, 96, 97, 98, 99]);
  expect(late.takeFrom(10)).toHaveLength(LATE_BATCH_PAGES);
  expect(late.take()[0]).toBe(10 + LATE_BATCH_PAGES);
});
