import { describe, expect, test } from 'vitest';
import { type Measured, ProcessorBalance, type Weighed } from './processor-balance.ts';

const LOOK_S = 0.25;
/** Nothing is known of machines that have just begun. */
const WARM_UP_S = 2;

interface Pretended {
  readonly settings?: Weighed['settings'];
  readonly cpus?: number;
  readonly thread?: string;
  /** What it would use if it had it. */
  readonly wants: (seconds: number) => number;
}

/**
 * What machines had in `seconds`, when those that want more than they are granted use just that, and a host that has only `free` processors left gives
 * each the same, whatever it is granted, as it knows nothing of shares.
 */
function had(machines: readonly Pretended[], { capacity = 1, free = Infinity, seconds = 30 } = {}): number[] {
  const balance = new ProcessorBalance(capacity);
  const sums = machines.map(() => 0);
  let grants: (number | undefined)[] = machines.map(() => undefined);
  for (let now = -WARM_UP_S; now < seconds; now += LOOK_S) {
    const wanted = machines.map(({ wants, cpus = 1 }) => Math.min(cpus, wants(now)));
    const asked = wanted.map((each, index) => Math.min(each, grants[index] ?? Infinity, limitOf(machines[index]!)));
    const used = dividedEvenly(onThreads(machines, asked), free);
    if (now >= 0) used.forEach((each, index) => (sums[index]! += each * LOOK_S));
    const weighed = machines.map(({ settings = {}, cpus = 1 }, index): Weighed => {
      const measured: Measured = {
        used: used[index]!,
        // One that has not used up what it was granted was not held.
        held: used[index]! < asked[index]! - 1e-6 ? 0 : wanted[index]! - asked[index]!,
        stolen: asked[index]! - used[index]!,
        bucket: 0,
        waited: 0,
      };
      const { thread } = machines[index]!;
      return { settings, cpus, measured, granted: grants[index], thread };
    });
    grants = balance.grants(weighed);
  }
  return sums.map((sum) => sum / seconds);
}

/** What is left of what each asks for, where those of one thread take turns on it. */
function onThreads(machines: readonly Pretended[], asked: readonly number[]): number[] {
  const left = [...asked];
  for (const name of new Set(machines.flatMap(({ thread }) => thread ?? []))) {
    const those = machines.flatMap(({ thread }, index) => (thread === name ? [index] : []));
    const parts = dividedEvenly(
      those.map((index) => asked[index]!),
      1,
    );
    for (const [at, index] of those.entries()) left[index] = parts[at]!;
  }
  return left;
}

const limitOf = ({ settings }: Pretended): number => (settings?.limit ?? Infinity) / 100;

function dividedEvenly(asked: readonly number[], free: number): number[] {
  const got = asked.map(() => 0);
  for (let left = free, round = 0; round < asked.length; round++) {
    const hungry = asked.filter((each, index) => each > got[index]!).length;
    if (hungry === 0 || left <= 0) break;
    const part = left / hungry;
    asked.forEach((each, index) => {
      const more = Math.min(part, each - got[index]!);
      got[index]! += more;
      left -= more;
    });
  }
  return got;
}

const busy = (settings: Weighed['settings'] = {}): Pretended => ({ settings, wants: () => 1 });

function expectWithin(got: readonly number[], asked: readonly number[], tolerance = 0.03): void {
  for (const [index, each] of asked.entries()) expect(Math.abs(got[index]! / each - 1)).toBeLessThan(tolerance);
}

describe('the balance of processors', () => {
  test('gives machines that are busy what their shares are, within 3 % over 30 s', () => {
    const got = had([busy({ shares: 1000 }), busy({ shares: 2000 }), busy({ shares: 4000 })]);
    expectWithin(got, [1 / 7, 2 / 7, 4 / 7]);
  });

  test('keeps reservations and limits beside them', () => {
    expectWithin(had([busy({ shares: 1, reservation: 60 }), busy(), busy()]), [0.6, 0.2, 0.2]);
    expectWithin(had([busy({ limit: 20 }), busy(), busy()]), [0.2, 0.4, 0.4]);
  });

  test('holds nobody back while there is enough for all', () => {
    const balance = new ProcessorBalance(2);
    const measured = { used: 0.9, held: 0, bucket: 0, waited: 0, stolen: 0 };
    const machine = { settings: {}, cpus: 1, measured };
    expect(balance.grants([machine, machine])).toEqual([undefined, undefined]);
    expect(balance.isShort).toBe(false);
  });

  test('gives a machine that comes to want its part within a second', () => {
    const late: Pretended = { wants: (seconds) => (seconds < 10 ? 0.05 : 1) };
    const [, one = 0] = had([busy(), late], { seconds: 20 });
    expect(one).toBeGreaterThan((10 * 0.05 + 9 * 0.5) / 20);
  });

  test('leaves to the others what one does not want', () => {
    const got = had([{ wants: () => 0.1 }, busy(), busy()]);
    expectWithin(got, [0.1, 0.45, 0.45]);
  });

  test.each([0, 0.1])('leaves to the others what a machine may not have because its own bucket is empty', (stolen) => {
    const balance = new ProcessorBalance(1);
    const emptied = { used: 0.15, held: 0.05, bucket: 0.8, waited: 0, stolen };
    const kept = { used: 0.34, held: 0.66, bucket: 0, waited: 0, stolen: 0 };
    const grants = balance.grants([emptied, kept, kept].map((measured) => ({ settings: {}, cpus: 1, measured })));
    for (const grant of grants.slice(1)) expect(grant).toBeCloseTo(0.425, 3);
  });

  test('takes nothing from others because one that wants little is kept waiting a little', () => {
    const balance = new ProcessorBalance(1);
    const sleeper = { used: 0.03, held: 0, bucket: 0, waited: 0, stolen: 0.02 };
    const kept = { used: 0.48, held: 0.52, bucket: 0, waited: 0, stolen: 0 };
    let grants: (number | undefined)[] = [undefined, undefined, undefined];
    for (let look = 0; look < 100; look++)
      grants = balance.grants(
        [sleeper, kept, kept].map((measured, index) => ({ settings: {}, cpus: 1, measured, granted: grants[index] })),
      );
    for (const grant of grants.slice(1)) expect(grant).toBeGreaterThan(0.45);
  });

  test('gives machines that take turns on one thread no more than that together, and the others what they leave', () => {
    const together = { ...busy(), thread: 'shop' };
    expectWithin(had([together, together, together, busy()], { capacity: 2 }), [1 / 3, 1 / 3, 1 / 3, 1]);
    const got = had([together, together, busy(), busy()], { capacity: 2 });
    expectWithin(got, [0.5, 0.5, 0.5, 0.5]);
    const [light, heavy] = [busy({ shares: 1000 }), busy({ shares: 3000 })].map((each) => ({
      ...each,
      thread: 'shop',
    }));
    expectWithin(had([light!, heavy!, busy(), busy()], { capacity: 2 }), [0.25, 0.75, 0.5, 0.5]);
    expectWithin(
      had([{ ...busy(), cpus: 4, wants: () => 4, thread: 'web' }, busy({ shares: 1 })], { capacity: 2 }),
      [1, 1],
    );
  });

  test('holds nobody back because machines that take turns want more than their thread gives', () => {
    const balance = new ProcessorBalance(2);
    const measured = { used: 0.3, held: 0, bucket: 0, waited: 0, stolen: 0.7 };
    const machine = { settings: {}, cpus: 1, measured, thread: 'shop' };
    for (let look = 0; look < 20; look++)
      expect(balance.grants([machine, machine, machine])).toEqual([undefined, undefined, undefined]);
    expect(balance.isShort).toBe(false);
  });

  test('takes nothing from others because a thread gives less to those that take turns on it', () => {
    const balance = new ProcessorBalance(2);
    let grants: (number | undefined)[] = [];
    for (let look = 0; look < 40; look++) {
      // A fifth of the thread is its process's own work.
      const asked = [0, 1].map((index) => Math.min(0.4, grants[index] ?? 1));
      const machines = asked.map((used, index): Weighed => {
        const stolen = Math.max(0, (grants[index] ?? 1) - used);
        return {
          settings: {},
          cpus: 1,
          measured: { used, held: stolen > 0 ? 0 : 0.5, bucket: 0, waited: 0, stolen },
          granted: grants[index],
          thread: 'shop',
        };
      });
      const alone: Weighed = {
        settings: {},
        cpus: 2,
        measured: { used: 1.1, held: 0.9, bucket: 0, waited: 0, stolen: 0 },
        granted: grants[2],
      };
      grants = balance.grants([...machines, alone]);
    }
    expect(grants[2]).toBeGreaterThan(0.99);
    expect(grants[0]! + grants[1]!).toBeLessThan(0.95);
  });

  test('keeps shares when the host has less than it should, because it does other work', () => {
    const got = had([busy({ shares: 1000 }), busy({ shares: 2000 }), busy({ shares: 4000 })], {
      free: 0.5,
      seconds: 120,
    });
    expect(got[1]! / got[0]!).toBeGreaterThan(1.9);
    expect(got[2]! / got[1]!).toBeGreaterThan(1.85);
    expect(got.reduce((sum, each) => sum + each, 0)).toBeGreaterThan(0.42);
  });
});
