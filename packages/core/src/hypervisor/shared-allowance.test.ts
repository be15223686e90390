/** Machines of one process, such as a machine and its forks, that have one allowance together, and their turns on its thread. */

import { describe, expect, test } from 'vitest';
import { Allowance, hostNs } from '../machine/allowance.ts';
import { bareMachine } from '../machine/testing/bare-machine.ts';
import { MachineRunner, type RunnableMachine } from '../vm/runner.ts';
import { nodeClock } from '../vm/testing/node-host.ts';
import { type FairClient, FairTurns } from './fair-turns.ts';

const MS = 1e6;
const SECOND = 1e9;
const SLICE_NS = MS / 2;

/** A thread whose time passes while machines run, or until the next of them wakes. */
class Thread {
  nowNs = 0;
  usedNs = 0;
  readonly #soon: (() => void)[] = [];
  readonly #timers = new Map<() => void, number>();
  readonly #turns = new FairTurns(
    {
      soon: (callback) => void this.#soon.push(callback),
      after: (delayMs, callback) => {
        this.#timers.set(callback, this.nowNs + Math.max(1, delayMs) * MS);
        return () => this.#timers.delete(callback);
      },
    },
    () => this.nowNs,
  );

  /** A machine that always has something to do, and shares `allowance`. */
  busy(allowance: Allowance): FairClient {
    const turns = this.#turns.client();
    const machine: RunnableMachine = {
      onWake: undefined,
      isAmongOthers: true,
      quiesce: () => Promise.resolve(),
      resume: () => {},
      run: (forMs) => {
        for (const endNs = this.nowNs + forMs * MS; this.nowNs < endNs;) {
          const dueInNs = allowance.dueInNs(this.nowNs);
          if (dueInNs > 0) return { kind: 'idle', dueInNs };
          this.nowNs += SLICE_NS;
          this.usedNs += SLICE_NS;
          allowance.chargeUpTo(this.usedNs);
        }
        return { kind: 'busy' };
      },
    };
    new MachineRunner(machine, turns).start();
    return turns;
  }

  run(ns: number): void {
    for (const untilNs = this.nowNs + ns; this.nowNs < untilNs;) {
      if (this.#soon.length === 0) this.nowNs = Math.max(this.nowNs, Math.min(...this.#timers.values()));
      for (const [callback, dueNs] of this.#timers) {
        if (dueNs > this.nowNs || !this.#timers.delete(callback)) continue;
        callback();
      }
      this.#soon.shift()?.();
    }
  }
}

describe('an allowance that machines of a process share', () => {
  test('is kept by all of them together, and each has the same of it', () => {
    const thread = new Thread();
    const allowance = new Allowance();
    allowance.setRate(0.5, 0);
    const machines = Array.from({ length: 4 }, () => thread.busy(allowance));
    thread.run(20 * SECOND);
    expect(thread.usedNs / thread.nowNs).toBeCloseTo(0.5, 1);
    for (const { usedNs } of machines) expect(usedNs / thread.usedNs).toBeCloseTo(0.25, 1);
  });

  test('holds a machine for what another one used, by the time of the host', async () => {
    const { machine: parent } = await bareMachine('1: j 1b', { clock: nodeClock });
    const { allowance } = parent;
    // The parent stood still for long.
    const clock = {
      ...nodeClock,
      monotonicNs: () => nodeClock.monotonicNs() + 1000 * SECOND,
      hostNs: () => nodeClock.monotonicNs(),
    };
    const { machine: fork } = await bareMachine('1: j 1b', { clock, allowance });
    expect(fork.run(1).kind).toBe('busy');
    allowance.setRate(0.5, hostNs(clock));
    expect(fork.run(1).kind).toBe('busy');
    allowance.charge(20 * SECOND);
    expect(fork.run(1).kind).toBe('idle');
    expect(parent.run(1).kind).toBe('idle');
    let woken = 0;
    parent.onWake = () => woken++;
    fork.onWake = () => woken++;
    allowance.setRate(undefined, hostNs(nodeClock));
    allowance.setRate(0.5, hostNs(nodeClock));
    expect(woken).toBe(2);
    expect(parent.run(1).kind).toBe('busy');
    fork.close();
    allowance.charge(20 * SECOND);
    allowance.setRate(undefined, hostNs(nodeClock));
    expect(woken).toBe(3);
    parent.close();
  });
});
