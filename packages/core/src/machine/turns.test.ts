import { describe, expect, test } from 'vitest';
import { Turns } from './turns.ts';

const SLICE = 100;
const always = (): boolean => true;

/** Who came when `rounds` slices were given; `lasts` is how long each hart stays, and `waits` who only waits. */
function order(turns: Turns, rounds: number, lasts: (hart: number) => number, waits: readonly number[] = []): number[] {
  return Array.from({ length: rounds }, () => {
    const hart = turns.next(always);
    turns.charge(hart, lasts(hart), waits.includes(hart));
    return hart;
  });
}

describe('turns', () => {
  test('go round among harts that all compute', () => {
    expect(order(new Turns(3, SLICE), 7, () => SLICE)).toEqual([0, 1, 2, 0, 1, 2, 0]);
  });

  test('come to nobody when nobody is ready, and to the only one that is', () => {
    const turns = new Turns(3, SLICE);
    expect(turns.next(() => false)).toBe(-1);
    expect(turns.next((hart) => hart === 2)).toBe(2);
  });

  test('give a hart whose slices end early as much time as the others', () => {
    const came = order(new Turns(2, SLICE), 220, (hart) => (hart === 0 ? 1 : SLICE));
    const slices = came.filter((hart) => hart === 1).length;
    expect(slices).toBeGreaterThanOrEqual(2);
    expect(slices).toBeLessThanOrEqual(3);
  });

  test('leave a hart that holds a lock nearly all the time of those who wait for it', () => {
    const waiters = [0, 1, 3];
    const lasts = (hart: number): number => (hart === 2 ? SLICE : 1);
    const came = order(new Turns(4, SLICE), 400, lasts, waiters);
    const time = (hart: number): number => came.filter((each) => each === hart).length * lasts(hart);
    expect(time(2)).toBeGreaterThan(0.9 * [0, 1, 2, 3].reduce((sum, hart) => sum + time(hart), 0));
  });

  test('do not make a hart pay for time that the host was away', () => {
    const turns = new Turns(2, SLICE);
    order(turns, 2, (hart) => (hart === 0 ? 1000 * SLICE : SLICE));
    expect(order(turns, 4, () => SLICE).filter((hart) => hart === 0)).toHaveLength(2);
  });

  test('come to a hart that waited for long by and by, once it computes', () => {
    const turns = new Turns(2, SLICE);
    order(turns, 1000, () => 1, [0]);
    expect(order(turns, 4, () => SLICE).filter((hart) => hart === 0)).toHaveLength(2);
  });

  test('come soon to a hart that slept, and do not stay with it for as long as it slept', () => {
    const turns = new Turns(2, SLICE);
    for (let slice = 0; slice < 1000; slice++) {
      expect(turns.next((hart) => hart === 0)).toBe(0);
      turns.charge(0, SLICE, false);
    }
    expect(order(turns, 4, () => SLICE).filter((hart) => hart === 1)).toHaveLength(2);
  });
});
