import { expect, test } from 'vitest';
import { gather, scatter, vectorAfter, vectorBytes } from './vector.ts';

test("scatter and gather are each other's inverse over views of any length", () => {
  const views = [new Uint8Array(3), new Uint8Array(0), new Uint8Array(2)];
  scatter(Uint8Array.of(1, 2, 3, 4, 5), views);
  expect(views.map((view) => [...view])).toEqual([[1, 2, 3], [], [4, 5]]);
  const back = new Uint8Array(5);
  gather(views, back);
  expect([...back]).toEqual([1, 2, 3, 4, 5]);
  expect(vectorBytes(views)).toBe(5);
});

test('what is left of a vector starts in the middle of a view', () => {
  const views = [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5)];
  expect([0, 1, 3, 4, 5].map((bytes) => vectorAfter(views, bytes).flatMap((view) => [...view]))).toEqual([
    [1, 2, 3, 4, 5],
    [2, 3, 4, 5],
    [4, 5],
    [5],
    [],
  ]);
});
