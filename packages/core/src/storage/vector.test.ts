import { expect, test } from 'vitest';
import { clear, gather, scatter, vectorAfter, vectorBytes, vectorSlice } from './vector.ts';

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

test('a slice of a vector goes over the edges of its views', () => {
  const views = [Uint8Array.of(1, 2, 3), new Uint8Array(0), Uint8Array.of(4, 5), Uint8Array.of(6)];
  const bytes = [1, 2, 3, 4, 5, 6];
  for (let from = 0; from <= 6; from++) {
    for (let length = 0; from + length <= 6; length++)
      expect(vectorSlice(views, from, length).flatMap((view) => [...view])).toEqual(bytes.slice(from, from + length));
  }
  clear(vectorSlice(views, 2, 2));
  expect(views.flatMap((view) => [...view])).toEqual([1, 2, 0, 0, 5, 6]);
});
