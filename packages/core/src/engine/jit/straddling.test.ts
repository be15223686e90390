/** An instruction that straddles two pages, in compiled code, when the first of them becomes another. */

import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { EXIT } from '../interpreter.ts';
import { DATA, PTE, READ_ONLY, Rig, TABLES, pte, supervisor } from '../testing/rig.ts';
import { TIERS } from '../testing/tiers.ts';

/** Few instructions, so that there are many runs: code is compiled between them. */
const SLICE = 60;
const CODE = READ_ONLY | PTE.X;

describe.each(TIERS)('the %s', (tier) => {
  test('executes the new first half of an instruction that the second page jumps back to', async () => {
    const rig = await Rig.of(
      tier,
      supervisor(`
        li s2, 0x4002
        li s3, 800
again:  li a1, 5
        jalr s2
        addi s3, s3, -1
        bnez s3, again
        mv s4, a0
        li t0, ${TABLES + 2 * PAGE_SIZE + 8 * 3}
        li t1, ${pte(DATA + 2 * PAGE_SIZE, CODE)}
        sd t1, 0(t0)
        li t0, 0x3000
        sfence.vma t0, x0
        li a1, 5
        jalr s2`),
    );
    rig.map(3, DATA, CODE);
    rig.map(4, DATA + PAGE_SIZE, CODE);
    rig.place(DATA + PAGE_SIZE - 2, 'back: addi a0, a0, 1\n addi a1, a1, -1\n bnez a1, back\n ret');
    rig.place(DATA + 3 * PAGE_SIZE - 2, 'addi a2, a0, 1');
    let turns = 0;
    while (rig.engine.run(rig.hart, SLICE) !== EXIT.WAIT && turns < 2000) turns++;
    if (tier !== 'interpreter') expect(rig.hart.get64('compiled')).toBeGreaterThan(0n);
    // Four times of five the straddling instruction is come to by the jump back.
    expect([rig.hart.x(20), rig.hart.x(10), rig.hart.x(12)]).toEqual([3200n, 3200n, 3201n]);
  });
});
