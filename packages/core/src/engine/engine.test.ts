/** What the engine must keep true beside single instructions: code that changes, pages, translations that end, counts, and coming back. */

import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { EXIT } from './interpreter.ts';
import { BUDGET, DATA, PTE, RAM, READ_ONLY, READ_WRITE, Rig, TABLES, pte, supervisor } from './testing/rig.ts';
import { TIERS } from './testing/tiers.ts';

const END = `
1:      wfi
        j 1b`;

describe.each(TIERS)('the %s', (tier) => {
  describe('code in memory', () => {
    test.each(['fence.i', 'nop'])('a store to an instruction that ran before is seen after %s', async (fence) => {
      const rig = await Rig.of(
        tier,
        `
        la t0, slot
        li t1, 3
again:  lw t2, 0(t0)
        li t3, 0x100000
        add t2, t2, t3
        sw t2, 0(t0)
        ${fence}
slot:   addi a0, a0, 0
        addi t1, t1, -1
        bnez t1, again${END}`,
      );
      rig.finish();
      expect(rig.hart.x(10)).toBe(1n + 2n + 3n);
    });

    test('an instruction that straddles two pages executes, and again after its second half was changed', async () => {
      const rig = await Rig.of(
        tier,
        `
        li t1, 2
        j last
        ${'.half 1\n'.repeat((PAGE_SIZE - 2 - 8) / 2)}
last:   addi a0, a0, 5
        la t0, last
        li t2, 0x0075
        sh t2, 2(t0)
        fence.i
        addi t1, t1, -1
        bnez t1, last${END}`,
      );
      rig.finish();
      // 0x0075 in the upper half: the immediate 7, and a0 again.
      expect(rig.hart.x(10)).toBe(5n + 7n);
    });

    test('code pages are evicted when the pool is tiny, and execution stays right', async () => {
      const pages = 6;
      const hops = Array.from(
        { length: pages },
        (_, index) => `
hop${index}: addi a0, a0, ${index + 1}
        ${index + 1 < pages ? `la t0, hop${index + 1}\n jr t0` : 'j back\n nop\n nop'}
        ${'nop\n'.repeat(PAGE_SIZE / 4 - 4)}`,
      );
      const text = `
        li t1, 50
        la t0, hop0
        jr t0
        ${'nop\n'.repeat(PAGE_SIZE / 4 - 4)}
        ${hops.join('\n')}
back:   addi t1, t1, -1
        la t0, hop0
        beqz t1, done
        jr t0
done:   ${END}`;
      const rig = await Rig.of(tier, text, { codePages: 2 });
      rig.finish();
      expect(rig.hart.x(10)).toBe(50n * 21n);
      expect(rig.domain.codePagesInUse).toBeLessThanOrEqual(2);
    });
  });

  describe('coming back', () => {
    test('a run comes back from an endless loop of traps, wherever the handler should be', async () => {
      for (const vector of ['0', String(RAM + 0x100), '0xffffffffff000000']) {
        const rig = await Rig.of(tier, `li t0, ${vector}\n csrw mtvec, t0\n .word 0`);
        expect(rig.engine.run(rig.hart, BUDGET), vector).toBe(EXIT.BUDGET);
      }
    });

    test('a run comes back from an endless loop of one instruction', async () => {
      const rig = await Rig.of(tier, '1: j 1b');
      expect(rig.engine.run(rig.hart, BUDGET)).toBe(EXIT.BUDGET);
    });
  });

  describe('counting', () => {
    test('minstret counts the instructions that retire, not the ones that trap', async () => {
      const rig = await Rig.of(
        tier,
        `
        la t0, handler
        csrw mtvec, t0
        csrr a0, minstret
        nop
        csrr a1, minstret
        .word 0xffffffff
        csrr a2, minstret
        ecall
        csrr a3, minstret${END}
        .align 2
handler: csrr t0, mepc
        addi t0, t0, 4
        csrw mepc, t0
        mret`,
      );
      rig.finish();
      const [a, b, c, d] = [10, 11, 12, 13].map((register) => rig.hart.x(register)) as [bigint, bigint, bigint, bigint];
      // The read itself and what is between; the handler has four.
      expect([b - a, c - b, d - c]).toEqual([2n, 5n, 5n]);
    });
  });

  describe('translation', () => {
    test('a store that crosses into a page it may not write changes nothing', async () => {
      const rig = await Rig.of(tier, supervisor('li t0, 0x3ffc\n li t1, -1\n ld a0, 0(t0)\n sd t1, 0(t0)'));
      rig.map(3, DATA, READ_WRITE);
      rig.map(4, DATA + PAGE_SIZE, READ_ONLY);
      rig.store(DATA + PAGE_SIZE - 8, 0x1122_3344_5566_7788n);
      rig.store(DATA + PAGE_SIZE, 0x99aa_bbcc_ddee_ff00n);
      rig.finish();
      expect([rig.hart.x(8), rig.hart.x(9)]).toEqual([15n, 0x4000n]);
      expect(rig.hart.x(10)).toBe(0xddee_ff00_1122_3344n);
      expect(rig.load(DATA + PAGE_SIZE - 8)).toBe(0x1122_3344_5566_7788n);
      expect(rig.load(DATA + PAGE_SIZE)).toBe(0x99aa_bbcc_ddee_ff00n);
    });

    test.each([
      ['one address of one address space', 'sfence.vma t0, t4'],
      ['one address', 'sfence.vma t0, x0'],
      ['one address space', 'sfence.vma x0, t4'],
      ['everything', 'sfence.vma x0, x0'],
    ])('after sfence.vma of %s the page is the new one', async (_, fence) => {
      const rig = await Rig.of(
        tier,
        supervisor(`
        li t0, 0x3000
        li t1, ${TABLES + 2 * PAGE_SIZE + 8 * 3}
        li t2, ${pte(DATA + PAGE_SIZE, READ_ONLY)}
        li t4, 1
        ld a0, 0(t0)
        sd a0, 8(t0)
        sd t2, 0(t1)
        ${fence}
        ld a1, 0(t0)
        sd a1, 8(t0)`),
      );
      rig.map(3, DATA, READ_WRITE);
      rig.store(DATA, 111n);
      rig.store(DATA + PAGE_SIZE, 222n);
      rig.finish();
      expect([rig.hart.x(10), rig.hart.x(11)]).toEqual([111n, 222n]);
      expect([rig.hart.x(8), rig.hart.x(9)], 'the new page may not be written').toEqual([15n, 0x3008n]);
      expect(rig.load(DATA + 8)).toBe(111n);
      expect(rig.load(DATA + PAGE_SIZE + 8)).toBe(0n);
    });

    test('a page that may be written and executed but not read is reserved, and is not fetched from', async () => {
      const rig = await Rig.of(
        tier,
        supervisor(`
        li s2, 0x4000
        jalr s2
        li t0, ${TABLES + 2 * PAGE_SIZE + 8 * 4}
        li t1, ${pte(DATA, PTE.V | PTE.W | PTE.X | PTE.A | PTE.D)}
        sd t1, 0(t0)
        sfence.vma
        li t0, 0x3000
        ld t1, 0(t0)
        li t0, 0x5000
        ld t1, 0(t0)
        jalr s2`),
      );
      rig.map(3, DATA, READ_ONLY);
      rig.map(4, DATA, READ_ONLY | PTE.X);
      rig.map(5, DATA, READ_ONLY);
      rig.place(DATA, 'addi a0, a0, 1\n ret');
      rig.finish();
      expect([rig.hart.x(8), rig.hart.x(9), rig.hart.x(10)]).toEqual([12n, 0x4000n, 1n]);
    });

    test('another address space sees its own pages, and the first one its own again', async () => {
      const rig = await Rig.of(
        tier,
        supervisor(`
        li t0, 0x3000
        csrr t1, satp
        li t2, ${(1n << 44n) + 3n}
        add t2, t1, t2
        ld a0, 0(t0)
        csrw satp, t2
        ld a1, 0(t0)
        csrw satp, t1
        ld a2, 0(t0)`),
      );
      rig.map(3, DATA, READ_WRITE);
      // The second space's tables lie behind the first one's.
      const second = TABLES + 3 * PAGE_SIZE;
      rig.store(second, pte(second + PAGE_SIZE, PTE.V));
      rig.store(second + 8 * 2, pte(RAM, READ_WRITE | PTE.X | PTE.G));
      rig.store(second + PAGE_SIZE, pte(second + 2 * PAGE_SIZE, PTE.V));
      rig.store(second + 2 * PAGE_SIZE + 8 * 3, pte(DATA + PAGE_SIZE, READ_ONLY));
      rig.store(DATA, 111n);
      rig.store(DATA + PAGE_SIZE, 222n);
      rig.finish();
      expect([10, 11, 12].map((register) => rig.hart.x(register))).toEqual([111n, 222n, 111n]);
    });
  });

  describe('conditional zero', () => {
    test('czero.eqz and czero.nez are zero where their condition holds, and rs1 elsewhere', async () => {
      const rig = await Rig.of(tier, `czero.eqz a2, a0, a1\n czero.nez a3, a0, a1${END}`);
      const values = [0n, 1n, 1n << 32n, 1n << 63n, (1n << 64n) - 1n];
      for (const value of values) {
        for (const condition of values) {
          rig.hart.reset(BigInt(RAM));
          rig.hart.setX(10, value);
          rig.hart.setX(11, condition);
          rig.finish();
          const wanted = condition === 0n ? [0n, value] : [value, 0n];
          expect([rig.hart.x(12), rig.hart.x(13)], `${value}, ${condition}`).toEqual(wanted);
        }
      }
    });
  });
});
