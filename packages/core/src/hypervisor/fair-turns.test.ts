import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type FairClient, FairTurns, type ThreadShare } from './fair-turns.ts';

/** An event loop whose time only passes while callbacks take it. */
class Loop {
  now = 0;
  readonly #queue: (() => void)[] = [];
  readonly fair = new FairTurns(
    {
      soon: (callback) => void this.#queue.push(callback),
      after: () => () => undefined,
    },
    () => this.now,
  );

  /** A machine that always wants a turn, of `turnNs`; gives what it had. */
  busy(share: ThreadShare, turnNs = 1e6): () => number {
    const client = this.fair.client(share);
    const turn = (): void => {
      this.now += turnNs;
      client.soon(turn);
    };
    client.soon(turn);
    return () => client.usedNs;
  }

  run(ns: number): void {
    const until = this.now + ns;
    while (this.now < until) {
      const callback = this.#queue.shift();
      if (callback === undefined) return;
      callback();
    }
  }
}

const shares = (count: number, reservation = 0): ThreadShare => ({ shares: count, reservation });

describe('turns of machines on one thread', () => {
  test('take as much time as they have shares, however long each turn is', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ shares: fc.integer({ min: 100, max: 4000 }), turnNs: fc.integer({ min: 1e5, max: 1e7 }) }),
          {
            minLength: 2,
            maxLength: 6,
          },
        ),
        (machines) => {
          const loop = new Loop();
          const had = machines.map((each) => loop.busy(shares(each.shares), each.turnNs));
          loop.run(30e9);
          const all = machines.reduce((sum, each) => sum + each.shares, 0);
          machines.forEach((each, index) => {
            const asked = (30e9 * each.shares) / all;
            expect(Math.abs(had[index]!() - asked)).toBeLessThan(0.03 * asked + 2e7);
          });
        },
      ),
      { numRuns: 20 },
    );
  });

  test('give a reservation whatever the shares of others, and no more than that', () => {
    const loop = new Loop();
    const had = [loop.busy(shares(1, 0.5)), loop.busy(shares(1000)), loop.busy(shares(1000))];
    loop.run(10e9);
    const [reserved = 0, one = 0, other = 0] = had.map((each) => each() / 10e9);
    expect(reserved).toBeGreaterThan(0.49);
    expect(reserved).toBeLessThan(0.52);
    expect(Math.abs(one - other)).toBeLessThan(0.01);
  });

  test('come soon to a machine that had nothing to do, and do not stay with it for as long', () => {
    const loop = new Loop();
    const client: FairClient = loop.fair.client(shares(1000));
    const busy = loop.busy(shares(1000));
    loop.run(5e9);
    let cameNs = 0;
    client.soon(() => (cameNs = loop.now));
    const before = loop.now;
    loop.run(20e6);
    expect(cameNs - before).toBeLessThan(2e6);
    const late = loop.busy(shares(1000));
    const had = busy();
    loop.run(1e9);
    expect(late() / (busy() - had)).toBeLessThan(1.1);
  });

  test('change with the shares', () => {
    const loop = new Loop();
    const client = loop.fair.client(shares(1000));
    let had = 0;
    const turn = (): void => {
      loop.now += 1e6;
      had += 1e6;
      client.soon(turn);
    };
    client.soon(turn);
    loop.busy(shares(1000));
    loop.run(1e9);
    client.setShare(shares(3000));
    had = 0;
    loop.run(1e9);
    expect(had / 1e9).toBeGreaterThan(0.73);
    expect(had / 1e9).toBeLessThan(0.77);
  });
});
