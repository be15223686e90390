import { describe, expect, test } from 'vitest';
import { CALM_NS, LONGEST_LOOK_NS, MachineRunner, type RunnableMachine, type Turns } from './runner.ts';

/** A machine that never has anything to do, and an event loop whose turns and time are the test's. */
function idle({ hasClock = true } = {}) {
  let nowNs = 0;
  let runs = 0;
  let dueInNs = 10e6;
  let sleepMs: number | undefined;
  const soon: (() => void)[] = [];
  const timers = new Set<() => void>();
  const machine: RunnableMachine = {
    run: () => {
      runs++;
      return { kind: 'idle', dueInNs };
    },
    onWake: undefined,
    resume: () => {},
    isAmongOthers: false,
    quiesce: () => Promise.resolve(),
  };
  const turns: Turns = {
    soon: (callback) => void soon.push(callback),
    after: (delayMs, callback) => {
      timers.add(callback);
      sleepMs = delayMs;
      return () => timers.delete(callback);
    },
    ...(hasClock ? { nowNs: () => nowNs } : {}),
  };
  const runner = new MachineRunner(machine, turns);
  runner.start();
  /** Turns of the event loop, of 1 us each, until the machine sleeps or `forNs` have passed; how many there were. */
  const turn = (forNs = Infinity): number => {
    let count = 0;
    for (const endNs = nowNs + forNs; soon.length > 0 && nowNs < endNs; count++) {
      nowNs += 1000;
      soon.shift()?.();
    }
    return count;
  };
  /** What the machine waits for comes `afterNs` from now. */
  const comes = (afterNs: number): void => {
    const atNs = nowNs + afterNs;
    turn(afterNs);
    nowNs = atNs;
    machine.onWake?.();
    // The machine's own turn.
    nowNs += 1000;
    soon.pop()?.();
  };
  return {
    runner,
    machine,
    turn,
    comes,
    /** When it has something to do by itself. */
    isDueIn(ns: number): void {
      dueInNs = ns;
    },
    /** How long it wanted to sleep the last time. */
    get sleepMs() {
      return sleepMs;
    },
    get runs() {
      return runs;
    },
    get isAsleep() {
      return timers.size === 1 && soon.length === 0;
    },
    get timers() {
      return timers.size;
    },
  };
}

describe('a machine that has nothing to do', () => {
  test('sleeps at once as long as nobody says how short its waits are', () => {
    const it = idle();
    expect([it.turn(), it.isAsleep]).toEqual([1, true]);
  });

  test('looks for events for a while where its waits are short, and still sleeps when none come', () => {
    const it = idle();
    it.turn();
    for (let times = 0; times < 10; times++) it.comes(30_000);
    const looks = it.turn();
    expect(looks).toBeGreaterThan(LONGEST_LOOK_NS / 1000 - 10);
    expect(looks).toBeLessThan(LONGEST_LOOK_NS / 1000 + 10);
    expect(it.isAsleep).toBe(true);
  });

  test('runs at once when something comes while it looks, and one timer at most is set', () => {
    const it = idle();
    it.turn();
    for (let times = 0; times < 10; times++) {
      const before = it.runs;
      it.comes(30_000);
      expect(it.runs).toBe(before + 1);
      expect(it.timers).toBeLessThanOrEqual(1);
    }
    it.turn();
    expect(it.isAsleep).toBe(true);
  });

  test('does not look any more after a few long waits', () => {
    const it = idle();
    it.turn();
    for (let times = 0; times < 10; times++) it.comes(30_000);
    for (let times = 0; times < 5; times++) it.comes(4e6);
    expect(it.turn()).toBeLessThanOrEqual(1);
    expect(it.isAsleep).toBe(true);
  });

  test('never looks where there is no clock', () => {
    const it = idle({ hasClock: false });
    it.turn();
    for (let times = 0; times < 10; times++) it.comes(30_000);
    expect(it.turn()).toBeLessThanOrEqual(1);
    expect(it.isAsleep).toBe(true);
  });

  test('ends when it is stopped while it looks', async () => {
    const it = idle();
    it.turn();
    for (let times = 0; times < 10; times++) it.comes(30_000);
    await it.runner.stop();
    it.turn();
    expect(it.timers).toBe(0);
    await expect(it.runner.ended).resolves.toEqual({ kind: 'stopped' });
  });
});

describe('a machine that stands still', () => {
  test('runs for a while when it is asked to, and stands still again', async () => {
    const it = idle();
    expect(await it.runner.runFor(0.25)).toBe(false);
    await it.runner.pause();
    const before = it.runs;
    expect(await it.runner.runFor(0.25)).toBe(true);
    expect([it.runs - before, it.runner.isPaused]).toEqual([1, true]);
  });

  test('has ended when that is what it does meanwhile', async () => {
    const it = idle();
    await it.runner.pause();
    it.machine.run = () => ({ kind: 'ended', ending: { kind: 'off' } }) as never;
    expect(await it.runner.runFor(0.25)).toBe(false);
    await expect(it.runner.ended).resolves.toEqual({ kind: 'off' });
  });
});

describe('a machine that waits for its own timer', () => {
  test('is awake before it while its waits are short, and spends what is left looking', () => {
    const it = idle();
    it.isDueIn(3.4e6);
    it.turn();
    expect(it.sleepMs).toBe(3);
    it.isDueIn(0.4e6);
    it.comes(3e6);
    expect(it.isAsleep).toBe(false);
  });

  test('sleeps until after it where it waits long, and for a few short waits that follow', () => {
    const it = idle();
    it.isDueIn(CALM_NS + 0.4e6);
    it.turn();
    expect(it.sleepMs).toBe(CALM_NS / 1e6 + 1);
    it.isDueIn(0.4e6);
    it.comes(400e6);
    expect([it.sleepMs, it.isAsleep]).toEqual([1, true]);
    it.isDueIn(3.4e6);
    for (const expected of [4, 4, 4, 3]) {
      it.comes(4e6);
      expect(it.sleepMs).toBe(expected);
    }
  });
});
