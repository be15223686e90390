import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { DATA, RAM, Rig } from './testing/rig.ts';
import { TIERS } from './testing/tiers.ts';
import { EXIT } from './interpreter.ts';

const ROUNDS = 12_000;
/** Counts the rounds in memory, and by a function in a page of its own, and how often it found nothing there. */
const PROGRAM = `
        la   t0, trapped
        csrw mtvec, t0
        li   s0, ${DATA}
        li   s1, ${ROUNDS}
        li   s2, 0
loop:   call more
        ld   a0, 0(s0)
        bnez a0, 1f
        addi s2, s2, 1
1:      addi a0, a0, 1
        sd   a0, 0(s0)
        addi s1, s1, -1
        bnez s1, loop
2:      wfi
        j    2b
        .align 2
trapped: csrr s8, mcause
        csrr s9, mepc
        j    2b
        .align 12
more:   addi a1, a1, 1
        ret`;

describe.each(TIERS)('a guest that forgets pages, on the %s', (tier) => {
  const page = (rig: Rig, address: number): number => rig.domain.guest.pageIndex(address);

  test('finds zeros there, and another frame when it writes', async () => {
    const rig = await Rig.of(tier, PROGRAM);
    const { frames, guest } = rig.domain;
    let forgotten = 0;
    for (let turn = 0; turn < 10_000; turn++) {
      if (rig.engine.run(rig.hart, 500) === EXIT.WAIT) break;
      if (turn % 20 !== 10) continue;
      const { available } = frames;
      const had = guest.host(page(rig, DATA), false) !== frames.zero;
      guest.forget([page(rig, DATA), page(rig, DATA + 64 * PAGE_SIZE)]);
      expect(frames.available - available).toBe(had ? 1 : 0);
      forgotten++;
    }
    expect(rig.hart.x(9)).toBe(0n);
    expect(forgotten).toBeGreaterThan(5);
    // Once at first. The interpreter may stop between a load and its store.
    const seen = Number(rig.hart.x(18));
    expect(seen).toBeGreaterThan(forgotten / 2);
    expect(seen).toBeLessThanOrEqual(forgotten + 1);
    if (tier !== 'interpreter') expect(rig.hart.get64('compiled')).toBeGreaterThan(0n);
  });

  test('executes nothing that was there', async () => {
    const rig = await Rig.of(tier, PROGRAM);
    for (let turn = 0; turn < 20; turn++) rig.engine.run(rig.hart, 500);
    const code = RAM + PAGE_SIZE;
    rig.domain.guest.forget([page(rig, code)]);
    rig.finish();
    expect([rig.hart.x(24), rig.hart.x(25)]).toEqual([2n, BigInt(code)]);
    expect(rig.hart.x(9)).toBeGreaterThan(0n);
  });
});
