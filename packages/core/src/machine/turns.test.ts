import { describe, expect, test } from 'vitest';
import { Turns, newTurnBooks } from './turns.ts';

const SLICE = 100;
const always = (): boolean => true;

/** Who of `harts` came when `rounds` slices were given; `lasts` is how long each hart stays, and `waits` who only waits. */
function order(
  turns: Turns,
  harts: number,
  rounds: number,
  lasts: (hart: number) => number,
  waits: readonly number[] = [],
): number[] {
  const own = Array.from({ length: harts }, (_, hart) => hart);
  return Array.from({ length: rounds }, () => {
    const hart = turns.next(own, always);
    turns.charge(hart, lasts(hart), waits.includes(hart), own);
    return hart;
  });
}

describe('turns', () => {
  test('go round among harts that all compute', () => {
    expect(order(new Turns(SLICE), 3, 7, () => SLICE)).toEqual([0, 1, 2, 0, 1, 2, 0]);
  });

  test('come to nobody when nobody is ready, and to the only one that is', () => {
    const turns = new Turns(SLICE);
    expect(turns.next([0, 1, 2], () => false)).toBe(-1);
    expect(turns.next([0, 1, 2], (hart) => hart === 2)).toBe(2);
  });

  test('give a hart whose slices end early as much time as the others', () => {
    const came = order(new Turns(SLICE), 2, 220, (hart) => (hart === 0 ? 1 : SLICE));
    const slices = came.filter((hart) => hart === 1).length;
    expect(slices).toBeGreaterThanOrEqual(2);
    expect(slices).toBeLessThanOrEqual(3);
  });

  test('leave a hart that holds a lock nearly all the time of those who wait for it', () => {
    const waiters = [0, 1, 3];
    const lasts = (hart: number): number => (hart === 2 ? SLICE : 1);
    const came = order(new Turns(SLICE), 4, 400, lasts, waiters);
    const time = (hart: number): number => came.filter((each) => each === hart).length * lasts(hart);
    expect(time(2)).toBeGreaterThan(0.9 * [0, 1, 2, 3].reduce((sum, hart) => sum + time(hart), 0));
  });

  test('do not make a hart pay for time that the host was away', () => {
    const turns = new Turns(SLICE);
    order(turns, 2, 2, (hart) => (hart === 0 ? 1000 * SLICE : SLICE));
    expect(order(turns, 2, 4, () => SLICE).filter((hart) => hart === 0)).toHaveLength(2);
  });

  test('come to a hart that waited for long by and by, once it computes', () => {
    const turns = new Turns(SLICE);
    order(turns, 2, 1000, () => 1, [0]);
    expect(order(turns, 2, 4, () => SLICE).filter((hart) => hart === 0)).toHaveLength(2);
  });

  test('come soon to a hart that slept, and do not stay with it for as long as it slept', () => {
    const turns = new Turns(SLICE);
    for (let slice = 0; slice < 1000; slice++) {
      expect(turns.next([0, 1], (hart) => hart === 0)).toBe(0);
      turns.charge(0, SLICE, false, [0, 1]);
    }
    expect(order(turns, 2, 4, () => SLICE).filter((hart) => hart === 1)).toHaveLength(2);
  });

  test('do not keep out a hart that others outslept: what it had while they slept is forgotten', () => {
    const turns = new Turns(SLICE);
    const alone = (hart: number, slices: number): void => {
      for (let slice = 0; slice < slices; slice++) {
        expect(turns.next([0, 1], (each) => each === hart)).toBe(hart);
        turns.charge(hart, SLICE, false, [0, 1]);
      }
    };
    alone(0, 1000);
    alone(1, 10);
    expect(order(turns, 2, 20, () => SLICE).filter((hart) => hart === 0).length).toBeGreaterThanOrEqual(4);
  });

  test('come to a hart of another thread when there is none here, when it had much less, or when those here only wait', () => {
    const books = newTurnBooks();
    const turns = new Turns(SLICE, books);
    books.wasReady.fill(1);
    books.usedNs.set([5000, 4990, 1000]);
    expect(turns.better(-1, [])).toBe(-1);
    expect(turns.better(-1, [0, 1])).toBe(1);
    expect(turns.better(0, [1])).toBe(-1);
    expect(turns.better(0, [1, 2])).toBe(2);
    turns.charge(0, 1, true, [0, 1]);
    expect(turns.better(0, [1])).toBe(1);
  });

  test('do not come to a hart of another thread only because it slept', () => {
    const books = newTurnBooks();
    const turns = new Turns(SLICE, books);
    for (let slice = 0; slice < 1000; slice++) turns.charge(turns.next([0], always), SLICE, false, [0]);
    expect(turns.better(turns.next([0], always), [1])).toBe(-1);
  });
});
