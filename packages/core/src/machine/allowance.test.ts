import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Allowance } from './allowance.ts';

const MS = 1e6;
const SECOND = 1e9;

/** What a machine that always has something to do uses in `seconds`, a slice of `sliceNs` at a time; it rests while it may not run. */
function used(allowance: Allowance, seconds: number, sliceNs = 0.3 * MS, fromNs = 0): number {
  let [nowNs, usedNs] = [fromNs, 0];
  while (nowNs < fromNs + seconds * SECOND) {
    const dueInNs = allowance.dueInNs(nowNs);
    if (dueInNs > 0) nowNs += Math.ceil(dueInNs);
    else {
      nowNs += sliceNs;
      usedNs += sliceNs;
      allowance.charge(sliceNs);
    }
  }
  return usedNs / SECOND;
}

describe('an allowance', () => {
  test('that was never set holds nobody back', () => {
    expect(new Allowance().isLimited).toBe(false);
    expect(used(new Allowance(), 1)).toBeCloseTo(1, 2);
  });

  test('gives a rate within half a percent in 30 s, however long slices are', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.05, max: 0.95, noNaN: true }),
        fc.integer({ min: 10_000, max: 5 * MS }),
        (rate, sliceNs) => {
          const allowance = new Allowance();
          allowance.setRate(rate, 0);
          const had = used(allowance, 30, sliceNs) / 30;
          expect(Math.abs(had / rate - 1)).toBeLessThan(0.005 + (2 * sliceNs) / (30 * SECOND * rate));
        },
      ),
      { numRuns: 20 },
    );
  });

  test('keeps a tenth of a second of what a machine did not use, and no more', () => {
    const allowance = new Allowance();
    allowance.setRate(0.5, 0);
    expect(used(allowance, 0.05, 0.3 * MS, 100 * SECOND)).toBeGreaterThan(0.049);
    expect(used(allowance, 1, 0.3 * MS, 200 * SECOND)).toBeLessThan(0.56);
  });

  test('is a bucket: full at first, then filled each interval', () => {
    const allowance = new Allowance();
    allowance.setBucket({ fillMs: 50, intervalMs: 200, burstMs: 1000 }, 0);
    expect(used(allowance, 1)).toBeCloseTo(1, 1);
    // What is left of the burst, and a quarter of the time.
    expect(used(allowance, 29, 0.3 * MS, SECOND)).toBeCloseTo(0.2 + 29 * 0.25, 0);
  });

  test('is the least of both: a bucket that is full does not lift a limit', () => {
    const allowance = new Allowance();
    allowance.setBucket({ fillMs: 50, intervalMs: 100, burstMs: 5000 }, 0);
    allowance.setRate(0.2, 0);
    expect(used(allowance, 10) / 10).toBeCloseTo(0.2, 2);
  });

  test('is charged with what the process used since it is limited', () => {
    const allowance = new Allowance();
    allowance.setRate(0.5, 0);
    allowance.chargeUpTo(5 * SECOND);
    expect(allowance.dueInNs(0)).toBe(0);
    allowance.chargeUpTo(5 * SECOND + 10 * MS);
    expect(allowance.dueInNs(0)).toBeCloseTo(20 * MS, -6);
  });

  test('owes no more than 5 s of it pay back', () => {
    const allowance = new Allowance();
    allowance.setRate(0.5, 0);
    for (let second = 0; second < 30; second++) allowance.charge(SECOND);
    expect(allowance.dueInNs(0)).toBeGreaterThan(5 * SECOND);
    expect(allowance.dueInNs(0)).toBeLessThan(5.1 * SECOND);
    allowance.setRate(undefined, 0);
    allowance.setBucket({ fillMs: 10, intervalMs: 100, burstMs: 10 }, 0);
    allowance.charge(30 * SECOND);
    expect(allowance.dueInNs(0)).toBeLessThan(5.2 * SECOND);
  });

  test('tells machines that it holds when that changes, and others nothing', () => {
    const allowance = new Allowance();
    let told = 0;
    allowance.join(allowance, () => told++);
    allowance.setRate(0.5, 0);
    allowance.setRate(0.01, 0);
    expect(told).toBe(0);
    allowance.charge(10 * MS);
    allowance.setRate(0.5, 0);
    expect(told).toBe(1);
    allowance.setRate(undefined, 0);
    expect(told).toBe(2);
    const bucket = { fillMs: 1, intervalMs: 60_000, burstMs: 1 };
    allowance.setBucket(bucket, 0);
    allowance.charge(10 * MS);
    allowance.setBucket(undefined, 0);
    expect(told).toBe(3);
    allowance.setBucket(bucket, 0);
    allowance.charge(10 * MS);
    allowance.leave(allowance);
    allowance.setBucket(undefined, 0);
    expect(told).toBe(3);
  });

  test('of several threads is used together', () => {
    const cells = new BigInt64Array(new SharedArrayBuffer(8 * 16));
    const [one, other] = [new Allowance(cells), new Allowance(cells)];
    one.setRate(1, 0);
    other.charge(100 * MS);
    expect(one.dueInNs(0)).toBeGreaterThan(90 * MS);
    one.setRate(undefined, 0);
    expect(other.dueInNs(0)).toBe(0);
  });

  test('tells by which of its buckets a machine was held', () => {
    const allowance = new Allowance();
    allowance.setRate(0.5, 0);
    allowance.charge(10 * MS);
    allowance.held(7, 0);
    allowance.setRate(undefined, 0);
    allowance.setBucket({ fillMs: 1, intervalMs: 1000, burstMs: 1 }, 0);
    allowance.charge(10 * MS);
    allowance.held(8, 0);
    expect(allowance.figures).toMatchObject({ heldNs: 7, bucketNs: 8 });
  });
});
