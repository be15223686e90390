import { MOST_POOL_BYTES } from '@ringfence/core';
import { describe, expect, test } from 'vitest';
import { beginBytes, leastBytes, mostBytes, type Pooled, poolSizes } from './memory-balance.ts';

const MiB = 1024 ** 2;

interface Pretended {
  readonly shares?: number;
  readonly reservation?: number;
  readonly limit?: number;
  /** Memory, and what the guest would use if it had it. */
  readonly memory?: number;
  readonly wants: number;
  readonly active?: number;
}

/** What machines have, in MiB, when each uses what it wants and can have, and its pool shrinks by 20 MiB from one look to the next. */
function had(capacity: number, machines: readonly Pretended[], looks = 200): { pools: number[]; most: number } {
  const settings = machines.map(({ shares = 1000, reservation = 0, limit }) => ({
    shares,
    reservationBytes: reservation * MiB,
    limitBytes: limit === undefined ? undefined : limit * MiB,
  }));
  let pools = machines.map(() => 0);
  let most = 0;
  for (let look = 0; look < looks; look++) {
    const pooled = machines.map(({ memory = 1024, wants, active = 1 }, index): Pooled => {
      const pool = pools[index]! * MiB;
      const used = Math.min(wants * MiB, 0.98 * pool);
      const figures = {
        poolBytes: pool,
        usedBytes: used,
        touchedBytes: used,
        awayBytes: wants * MiB - used,
        machines: 1,
        activePart: active,
      };
      return { settings: settings[index]!, memoryBytes: memory * MiB, figures: look === 0 ? undefined : figures };
    });
    const sizes = poolSizes(capacity * MiB, Infinity, pooled).map((bytes) => bytes / MiB);
    pools = sizes.map((size, index) => (look === 0 ? size : Math.max(size, pools[index]! - 20)));
    most = Math.max(
      most,
      pools.reduce((sum, each) => sum + each, 0),
    );
  }
  return { pools: pools.map((each) => Math.round(each)), most };
}

describe('pools of machines', () => {
  test('are as large as is of use where there is enough, and what nobody wants is divided', () => {
    expect(had(4096, [{ wants: 100 }, { wants: 800 }]).pools).toEqual([1194, 1194]);
    const [one = 0, other = 0] = had(1000, [{ wants: 100 }, { wants: 100 }]).pools;
    expect([one, other]).toEqual([500, 500]);
  });

  test('are as the shares say when all want more than there is', () => {
    expect(
      had(700, [
        { wants: 900, shares: 1000 },
        { wants: 900, shares: 2000 },
        { wants: 900, shares: 4000 },
      ]).pools,
    ).toEqual([100, 200, 400]);
  });

  test('leave what is reserved, and obey limits', () => {
    const [reserved = 0, other = 0] = had(700, [{ wants: 900, reservation: 400, shares: 1 }, { wants: 900 }]).pools;
    expect(reserved).toBe(460);
    expect(other).toBe(240);
    const [limited = 0, rest = 0] = had(2000, [{ wants: 900, limit: 200 }, { wants: 900 }]).pools;
    expect(limited).toBe(Math.round(200 * 1.15 + 16));
    expect(rest).toBe(1194);
  });

  test('of a machine that does not use what it has are smaller than of one that does', () => {
    const [idle = 0, busy = 0] = had(800, [
      { wants: 700, active: 0.05 },
      { wants: 700, active: 1 },
    ]).pools;
    expect(busy / idle).toBeGreaterThan(2);
    expect(busy + idle).toBeLessThanOrEqual(801);
  });

  test('are never larger together than what there is, whoever comes and however slowly others give', () => {
    const { most, pools } = had(900, [{ wants: 1000 }, { wants: 1000 }, { wants: 50 }]);
    expect(most).toBeLessThanOrEqual(900.5);
    expect(pools[2]).toBeLessThan(pools[0]!);
    const old: Pooled = {
      settings: { shares: 1000, reservationBytes: 0, limitBytes: undefined },
      memoryBytes: 1024 * MiB,
      figures: {
        poolBytes: 800 * MiB,
        usedBytes: 780 * MiB,
        touchedBytes: 780 * MiB,
        awayBytes: 0,
        machines: 1,
        activePart: 1,
      },
    };
    const newOne: Pooled = { ...old, figures: undefined };
    const [shrinks = 0, gets = 0] = poolSizes(800 * MiB, Infinity, [old, newOne]);
    expect(gets).toBe(0);
    expect(shrinks).toBeLessThan(500 * MiB);
  });

  describe('of which processes keep what they touched', () => {
    const machine = (pool: number, used: number, touched: number, away = 0): Pooled => ({
      settings: { shares: 1000, reservationBytes: 0, limitBytes: undefined },
      memoryBytes: 1024 * MiB,
      figures: {
        poolBytes: pool * MiB,
        usedBytes: used * MiB,
        touchedBytes: touched * MiB,
        awayBytes: away * MiB,
        machines: 1,
        activePart: 1,
      },
    });
    const sizes = (capacity: number, free: number, ...machines: Pooled[]): number[] =>
      poolSizes(capacity * MiB, free * MiB, machines).map((bytes) => Math.round(bytes / MiB));

    test('are not made smaller when the computer has nothing left: that would give it nothing', () => {
      expect(sizes(1000, 0, machine(300, 290, 300), machine(300, 290, 300))).toEqual([300, 300]);
      // What was promised and not touched yet is taken back.
      expect(sizes(1000, 0, machine(400, 290, 300), machine(300, 290, 300))).toEqual([300, 300]);
    });

    test('grow for nothing to what they were, and beyond that only by what the computer has free', () => {
      expect(sizes(1000, 0, machine(200, 190, 350, 300), machine(300, 290, 300, 300))).toEqual([350, 300]);
      const [first = 0, second = 0] = sizes(2000, 100, machine(200, 190, 350, 300), machine(300, 290, 300, 300));
      expect(first - 350 + (second - 300)).toBeGreaterThanOrEqual(98);
      expect(first - 350 + (second - 300)).toBeLessThanOrEqual(100);
      // Nobody gives way to one who could not have it.
      expect(sizes(600, 0, machine(400, 390, 400), machine(200, 190, 200, 700))).toEqual([400, 200]);
      expect(sizes(1000, 0, machine(200, 190, 200), { ...machine(0, 0, 0), figures: undefined })).toEqual([200, 0]);
    });
  });

  test('are never larger than a pool can be', () => {
    const settings = { shares: 1000, reservationBytes: 0, limitBytes: undefined };
    expect(mostBytes({ settings, memoryBytes: 3584 * MiB })).toBe(MOST_POOL_BYTES);
    expect(poolSizes(16_384 * MiB, Infinity, [{ settings, memoryBytes: 3584 * MiB, figures: undefined }])[0]).toBe(
      MOST_POOL_BYTES,
    );
  });

  test('are no less than a machine reserved, with what the pool takes itself', () => {
    const machine = (reservationMiB: number) => ({
      settings: { shares: 1000, reservationBytes: reservationMiB * MiB, limitBytes: undefined },
      memoryBytes: 512 * MiB,
    });
    expect(leastBytes(machine(0))).toBe(32 * MiB);
    expect(leastBytes(machine(100))).toBe(115 * MiB);
    expect(beginBytes(machine(0))).toBe(64 * MiB);
    expect(beginBytes(machine(100))).toBe(115 * MiB);
    expect(mostBytes({ ...machine(0), memoryBytes: 1 * MiB })).toBe(32 * MiB);
  });
});
