import { describe, expect, test } from 'vitest';
import { ABANDONED, CompileQueue, URGENT, type Waiting } from './compile-queue.ts';

const INDEX = 7;

/** A queue of the code at these cells, all asked for in run 0. */
function queueOf(...cells: readonly number[]): CompileQueue<Waiting> {
  const queue = new CompileQueue<Waiting>();
  for (const cell of cells) queue.add({ cell, index: INDEX }, 0);
  return queue;
}

function again(queue: CompileQueue<Waiting>, cell: number, rounds: number, run: number): void {
  for (let round = 0; round < rounds; round++) queue.again(cell, INDEX, run);
}

/** What is taken in `run`, and what is abandoned. */
function taken(queue: CompileQueue<Waiting>, size: number, run: number): { cells: number[]; abandoned: number[] } {
  const abandoned: number[] = [];
  const cells = queue.take(size, run, ({ cell }) => void abandoned.push(cell)).map(({ cell }) => cell);
  return { cells, abandoned };
}

describe('what waits to be compiled', () => {
  test('goes in the order of how often it was come to since, the hottest first', () => {
    const queue = queueOf(1, 2, 3, 4);
    again(queue, 3, 5, 10);
    again(queue, 2, 2, 10);
    expect(taken(queue, 3, 10).cells).toEqual([3, 2, 1]);
    expect(taken(queue, 3, 10).cells).toEqual([4]);
    expect(queue.length).toBe(0);
  });

  test('that is new goes before what was come to as often in a longer time', () => {
    const queue = queueOf(1);
    again(queue, 1, 3, 100);
    queue.add({ cell: 2, index: INDEX }, 100);
    expect(taken(queue, 1, 102).cells).toEqual([2]);
  });

  test('does not keep what is much hotter waiting', () => {
    const queue = queueOf(1, 2, 3);
    again(queue, 2, 40, 10);
    again(queue, 3, 30, 10);
    expect(taken(queue, 16, 10).cells).toEqual([2, 3]);
    expect(taken(queue, 16, 10).cells).toEqual([1]);
  });

  test('is given up when nobody comes to it any more', () => {
    expect(taken(queueOf(1), 16, ABANDONED)).toEqual({ cells: [1], abandoned: [] });
    const queue = queueOf(1, 2);
    again(queue, 2, 1, 50);
    expect(taken(queue, 16, ABANDONED + 1)).toEqual({ cells: [2], abandoned: [1] });
    expect(queue.length).toBe(0);
  });

  test('is urgent as soon as some of it is very hot', () => {
    const queue = queueOf(1, 2);
    again(queue, 1, URGENT - 1, 1);
    expect(queue.isUrgent).toBe(false);
    again(queue, 1, 1, 1);
    expect(queue.isUrgent).toBe(true);
  });

  test('is what its frame is: the same cell of another frame is other code, and takes its place', () => {
    const queue = queueOf(1);
    expect(queue.again(1, INDEX, 5)).toBe(true);
    expect(queue.again(1, INDEX + 1, 5)).toBe(false);
    expect(queue.again(2, INDEX, 5)).toBe(false);
    queue.add({ cell: 1, index: INDEX + 1 }, 5);
    expect(queue.take(16, 5, () => {})).toEqual([{ cell: 1, index: INDEX + 1 }]);
  });
});
