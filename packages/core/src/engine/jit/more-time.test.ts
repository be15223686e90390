import { describe, expect, test } from 'vitest';
import { EXIT } from '../interpreter.ts';
import { Rig } from '../testing/rig.ts';

const BUDGET = 500;
const LOOPS = [
  ['a loop', 'loop: addi a0, a0, 1\n nop\n j loop'],
  [
    'a loop in even steps',
    'li a1, 0x80020000\nouter: mv a2, a1\n li t0, 400\nloop: addi a0, a0, 1\n lb a3, 0(a2)\n addi a2, a2, 1\n addi t0, t0, -1\n bnez t0, loop\n j outer',
  ],
  ['calls', 'loop: call function\n j loop\nfunction: addi a0, a0, 1\n mv s1, ra\n call leaf\n jr s1\nleaf: nop\n ret'],
] as const;

describe.each(['jit', 'jit-eager'] as const)('on the %s, a run in compiled code whose budget is over', (tier) => {
  /** A rig whose code is compiled, and what it is asked from then on. */
  async function warm(
    text: string,
    answer: (rig: Rig, asked: number) => number,
  ): Promise<{ rig: Rig; asked: number[] }> {
    const asked: number[] = [];
    let isAsked = false;
    const rig: Rig = await Rig.of(tier, text, {
      moreTime: (_hart, count) => {
        if (!isAsked) return 0;
        asked.push(count);
        return answer(rig, asked.length);
      },
    });
    for (let turn = 0; turn < 400; turn++) rig.engine.run(rig.hart, BUDGET);
    isAsked = true;
    return { rig, asked };
  }

  test.each(LOOPS)('goes on as long as it is given more time, in %s', async (_, text) => {
    const { rig, asked } = await warm(text, (_rig, times) => (times < 20 ? BUDGET : 0));
    const before = rig.hart.get64('retired');
    expect(rig.engine.run(rig.hart, BUDGET)).toBe(EXIT.BUDGET);
    const count = Number(rig.hart.get64('retired') - before);
    expect(asked).toHaveLength(20);
    // Each time a little more than it was given, never a whole budget.
    for (const [index, each] of asked.entries()) expect(each - (asked[index - 1] ?? 0)).toBeGreaterThanOrEqual(BUDGET);
    expect(count).toBeGreaterThanOrEqual(20 * BUDGET);
    expect(count).toBeLessThan(21 * BUDGET);
  });

  test.each(LOOPS)('comes back when somebody wants attention, whatever time it is given, in %s', async (_, text) => {
    const { rig, asked } = await warm(text, (each, times) => {
      if (times === 3) each.hart.requestAttention();
      return BUDGET;
    });
    expect(rig.engine.run(rig.hart, BUDGET)).toBe(EXIT.BUDGET);
    expect(asked).toHaveLength(3);
  });
});
