import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Claim, divide } from './processor-division.ts';

const claim = (shares: number, more: Partial<Claim> = {}): Claim => ({
  shares,
  reservation: 0,
  limit: Infinity,
  demand: 1,
  ...more,
});
const near = (values: readonly number[]): number[] => values.map((value) => Math.round(value * 1e6) / 1e6);
const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

const anyClaim = fc.record({
  shares: fc.integer({ min: 1, max: 10_000 }),
  reservation: fc.double({ min: 0, max: 2, noNaN: true }),
  limit: fc.double({ min: 0.01, max: 4, noNaN: true }),
  demand: fc.double({ min: 0, max: 8, noNaN: true }),
});
const anyHost = fc.record({
  capacity: fc.double({ min: 0.1, max: 16, noNaN: true }),
  claims: fc.array(anyClaim, { minLength: 1, maxLength: 12 }),
});

describe('processors are divided', () => {
  test('by shares', () => {
    expect(near(divide(0.7, [claim(1), claim(2), claim(4)]))).toEqual([0.1, 0.2, 0.4]);
  });

  test('so that what one does not want, or may not have, is the others’', () => {
    expect(near(divide(1, [claim(1000, { demand: 0.1 }), claim(1000), claim(2000)]))).toEqual([0.1, 0.3, 0.6]);
    expect(near(divide(1, [claim(1000, { limit: 0.25 }), claim(1000)]))).toEqual([0.25, 0.75]);
  });

  test('so that a reservation is kept against any shares, and not wasted when it is not wanted', () => {
    expect(near(divide(1, [claim(1, { reservation: 0.5 }), claim(1000)]))).toEqual([0.5, 0.5]);
    expect(near(divide(1, [claim(1, { reservation: 0.5, demand: 0.2 }), claim(1000)]))).toEqual([0.2, 0.8]);
  });

  test('in proportion to reservations when there is less than was promised', () => {
    const claims = [claim(1, { reservation: 0.5 }), claim(1, { reservation: 1 }), claim(1)];
    expect(near(divide(0.75, claims))).toEqual([0.25, 0.5, 0]);
  });

  test('so that nobody has more than it wants or may have, and nothing is left while somebody wants more', () => {
    fc.assert(
      fc.property(anyHost, ({ capacity, claims }) => {
        const got = divide(capacity, claims);
        const most = claims.map(({ demand, limit }) => Math.min(demand, limit));
        got.forEach((each, index) => expect(each).toBeLessThanOrEqual(most[index]! + 1e-9));
        expect(total(got)).toBeLessThanOrEqual(capacity + 1e-6);
        expect(total(got)).toBeGreaterThanOrEqual(Math.min(capacity, total(most)) - 1e-6);
      }),
    );
  });

  test('so that reservations are kept when they can be, and beyond them nobody has more for each share than one that wants more', () => {
    fc.assert(
      fc.property(anyHost, ({ capacity, claims }) => {
        const got = divide(capacity, claims);
        const most = claims.map(({ demand, limit }) => Math.min(demand, limit));
        const least = claims.map(({ reservation }, index) => Math.min(reservation, most[index]!));
        if (total(least) > capacity) return;
        for (const [index, each] of got.entries()) {
          expect(each).toBeGreaterThanOrEqual(least[index]! - 1e-6);
          if (each >= most[index]! - 1e-6) continue;
          for (const [other, had] of got.entries())
            if (had > least[other]! + 1e-6)
              expect(had / claims[other]!.shares).toBeLessThanOrEqual(each / claims[index]!.shares + 1e-6);
        }
      }),
    );
  });
});
