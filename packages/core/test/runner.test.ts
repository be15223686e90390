/** Machines in real time: timers are punctual, waiting is free, and stopping always works. */

import { describe, expect, test } from 'vitest';
import { TIERS } from '../src/engine/testing/tiers.ts';
import { bareMachine } from '../src/machine/testing/bare-machine.ts';
import { MachineRunner } from '../src/vm/runner.ts';
import { nodeClock, nodeTurns, within } from '../src/vm/testing/node-host.ts';

const TICKS = 200;

/** Takes a timer interrupt 10000 ticks of mtime (1 ms) after the last one and notes how late each came. */
const timing = (meanwhile: string): string => `
      la    t0, trap
      csrw  mtvec, t0
      li    s0, 0x2004000    # mtimecmp
      li    s1, 0x200bff8    # mtime
      li    s2, ${TICKS}
      la    s3, lateness
      li    s5, 10000
      ld    s4, 0(s1)
      add   s4, s4, s5
      sd    s4, 0(s0)
      li    t0, 0x80
      csrw  mie, t0
      csrsi mstatus, 8
1:    ${meanwhile}
      j     1b
      .balign 4
trap: ld    t0, 0(s1)
      sub   t0, t0, s4
      sd    t0, 0(s3)
      addi  s3, s3, 8
      ld    s4, 0(s1)
      add   s4, s4, s5
      sd    s4, 0(s0)
      addi  s2, s2, -1
      beqz  s2, 2f
      mret
2:    la    t0, tohost
      li    t1, 1
      sd    t1, 0(t0)
3:    j     3b
      .balign 8
tohost: .dword 0
lateness: .zero ${8 * TICKS}
`;

describe.each(TIERS)('on the %s', (engine) => {
  test.each([
    ['computes', 'addi a0, a0, 1'],
    ['waits', 'wfi'],
  ])('timer interrupts at 1 kHz come in time to a guest that %s', async (_, meanwhile) => {
    const { machine, symbols } = await bareMachine(timing(meanwhile), { clock: nodeClock, engine });
    const runner = new MachineRunner(machine, nodeTurns);
    runner.start();
    expect(await within(runner.ended, 20_000, 'the guest')).toEqual({ kind: 'poweroff' });
    const bytes = new Uint8Array(8 * TICKS);
    machine.ram.read(Number(symbols.get('lateness')), bytes);
    const lateMs = [...new BigUint64Array(bytes.buffer)]
      .map((ticks) => Number(ticks) / 10_000)
      .toSorted((a, b) => a - b);
    expect(lateMs).toHaveLength(TICKS);
    // Half of them, because other programs run on this host too.
    expect(lateMs[TICKS / 2]).toBeLessThan(1);
  });

  test('a paused guest stands still, and goes on where it was', async () => {
    const { machine } = await bareMachine('csrw mie, zero\n1: addi a0, a0, 1\n j 1b', { clock: nodeClock, engine });
    const runner = new MachineRunner(machine, nodeTurns);
    const pass = (ms: number): Promise<void> => new Promise((resolve) => void nodeTurns.after(ms, resolve));
    const done = (): number => machine.statistics()['instructions'] ?? 0;
    runner.start();
    await pass(20);
    await runner.pause();
    const before = done();
    await pass(30);
    expect([runner.isPaused, done()]).toEqual([true, before]);
    machine.onWake?.();
    await pass(5);
    expect(done()).toBe(before);
    runner.resume();
    await pass(30);
    expect(done()).toBeGreaterThan(before);
    await runner.pause();
    await runner.stop();
    expect(await runner.ended).toEqual({ kind: 'stopped' });
    runner.resume();
    expect(runner.isPaused).toBe(false);
  });

  describe('stopping from outside', () => {
    test.each([
      ['spins with interrupts off', 'csrw mie, zero\n1: j 1b'],
      ['traps for ever', 'csrw mtvec, zero\n jr zero'],
      ['waits for nothing', 'csrw mie, zero\n1: wfi\n j 1b'],
    ])('ends a guest that %s', async (_, program) => {
      const { machine } = await bareMachine(program, { clock: nodeClock, engine });
      const runner = new MachineRunner(machine, nodeTurns);
      runner.start();
      await new Promise<void>((resolve) => void nodeTurns.after(50, resolve));
      await within(runner.stop(), 5000, 'stopping');
      expect(await runner.ended).toEqual({ kind: 'stopped' });
      const { instructions } = machine.statistics();
      await new Promise<void>((resolve) => void nodeTurns.after(30, resolve));
      expect(machine.statistics()['instructions']).toBe(instructions);
    });
  });
});

test('a guest that waits costs its host no time', async () => {
  const { machine } = await bareMachine('csrw mie, zero\n1: wfi\n j 1b', { clock: nodeClock });
  let turns = 0;
  const runner = new MachineRunner(machine, {
    ...nodeTurns,
    soon(callback) {
      turns++;
      nodeTurns.soon(callback);
    },
  });
  runner.start();
  await new Promise<void>((resolve) => void nodeTurns.after(300, resolve));
  expect(turns).toBeLessThan(5);
  await runner.stop();
});
