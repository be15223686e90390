import { expect, test } from 'vitest';
import { defined } from '../../base/assert.ts';
import { HART } from '../layout.ts';
import { Rig } from '../testing/rig.ts';
import { TIERS } from '../testing/tiers.ts';

const ROUNDS = 3000;

/** A rig whose time is one tick later whenever it is read. */
async function clocked(tier: (typeof TIERS)[number], text: string): Promise<Rig> {
  const late: { rig?: Rig } = {};
  let ticks = 0n;
  const readTime = (hart: number): void => {
    defined(late.rig, 'the rig').domain.u64[(hart + HART.time) >>> 3] = ++ticks;
  };
  return (late.rig = await Rig.of(tier, text, { readTime }));
}

test.each(TIERS)(
  'time that is read in a loop is fresh each time, and no reason to leave compiled code: %s',
  async (tier) => {
    const rig = await clocked(
      tier,
      `
        li s0, ${ROUNDS}
loop:   csrr a0, time
        add a1, a1, a0
        addi s0, s0, -1
        bnez s0, loop
1:      wfi
        j 1b`,
    );
    rig.finish();
    expect(rig.hart.x(10)).toBe(BigInt(ROUNDS));
    expect(rig.hart.x(11)).toBe((BigInt(ROUNDS) * BigInt(ROUNDS + 1)) / 2n);
    if (tier !== 'interpreter') expect(rig.hart.get64('slowSteps')).toBeLessThan(BigInt(ROUNDS / 2));
  },
);

test.each(TIERS)('whoever may not read the time traps, in compiled code too: %s', async (tier) => {
  const rig = await clocked(
    tier,
    `
        li t0, -1
        csrw pmpaddr0, t0
        li t0, 0x1f
        csrw pmpcfg0, t0
        csrwi mcounteren, 2
        csrwi scounteren, 2
        la t0, trapped
        csrw mtvec, t0
        la t0, user
        csrw mepc, t0
        li t0, 0x1800
        csrc mstatus, t0
        li s0, ${ROUNDS}
        mret
user:   csrr a0, time
        addi a1, a1, 1
        addi s0, s0, -1
        bnez s0, user
        ecall
        .align 2
trapped: csrr t1, mcause
        li t2, 2
        beq t1, t2, illegal
        bnez s1, end
        li s1, 1
        csrwi scounteren, 0
        li s0, 50
        la t0, user
        csrw mepc, t0
        mret
illegal: addi s2, s2, 1
        csrr t0, mepc
        addi t0, t0, 4
        csrw mepc, t0
        mret
end:    wfi
        j end`,
  );
  rig.finish();
  expect([9, 11, 18].map((register) => rig.hart.x(register))).toEqual([1n, BigInt(ROUNDS + 50), 50n]);
  expect(rig.hart.x(10)).toBe(BigInt(ROUNDS));
});
