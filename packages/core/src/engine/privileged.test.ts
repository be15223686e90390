/**
 * What the Privileged ISA says where the random programs cannot ask, because QEMU 7.2 does otherwise: the order of interrupts, implicit
 * writes under PMP, Svade, memory types, user pages under SUM.
 */

import { describe, expect, test } from 'vitest';
import { PAGE_SIZE } from '../base/numbers.ts';
import { DATA, PTE, READ_ONLY, READ_WRITE, Rig, TABLES, pte, supervisor } from './testing/rig.ts';
import { TIERS } from './testing/tiers.ts';

const CAUSE = { fetchPage: 12n, illegal: 2n, loadPage: 13n, storeAccess: 7n, storePage: 15n, ecallFromS: 9n } as const;
const ADUE = 1n << 61n;
const PBMTE = 1n << 62n;
const environment = (bits: bigint): string => `li t0, ${bits}\n csrw menvcfg, t0`;
/** The last table of `Rig.map`, whose entry for page 3 is the one under test. */
const LAST_TABLE = TABLES + 2 * PAGE_SIZE;
const ENTRY = LAST_TABLE + 8 * 3;
const USED = PTE.A | PTE.D;

/** Takes interrupts until none is left: each is noted at DATA and then disabled. */
const takingInterrupts = (prefix: 'm' | 's'): string => `
        .align 2
taken:  csrr t0, ${prefix}cause
        sb t0, 0(a3)
        addi a3, a3, 1
        li t1, 1
        sll t1, t1, t0
        csrc ${prefix}ie, t1
        ${prefix}ret`;

describe.each(TIERS)('the %s', (tier) => {
  describe('interrupts that are pending together', () => {
    const noted = (rig: Rig, count: number): number[] =>
      Array.from({ length: count }, (_, index) => Number((rig.load(DATA) >> BigInt(8 * index)) & 0xffn));

    test('are taken in the order MEI, MSI, MTI, SEI, SSI, STI', async () => {
      const rig = await Rig.of(
        tier,
        `
        la t0, taken
        csrw mtvec, t0
        li a3, ${DATA}
        li t0, 0x222
        csrw mip, t0
        li t0, 0xaaa
        csrw mie, t0
        csrsi mstatus, 8
1:      wfi
        j 1b
        ${takingInterrupts('m')}`,
      );
      for (const line of [0x800, 8, 0x80]) rig.hart.setPending(line, true);
      rig.finish();
      expect(noted(rig, 7)).toEqual([11, 3, 7, 9, 1, 5, 0]);
    });

    test('are taken in S-mode in the order SEI, SSI, STI', async () => {
      const rig = await Rig.of(
        tier,
        supervisor(
          'csrsi sstatus, 2\n nop\n nop',
          `
        la t0, taken
        csrw stvec, t0
        li a3, ${DATA}
        li t0, 0x222
        csrw mideleg, t0
        csrw mip, t0
        csrw mie, t0
        j 1f
        ${takingInterrupts('s')}
1:`,
        ),
      );
      rig.map(3, DATA, READ_WRITE);
      rig.finish();
      expect(noted(rig, 4)).toEqual([9, 1, 5, 0]);
      expect(rig.hart.x(8)).toBe(CAUSE.ecallFromS);
    });
  });

  describe('the A and D bits', () => {
    test('are not written into a table that PMP only lets read: the store has no access (3.7, 10.3.2)', async () => {
      const readOnlyTable = `
        ${environment(ADUE)}
        li t0, ${LAST_TABLE / 4 + PAGE_SIZE / 8 - 1}
        csrw pmpaddr0, t0
        li t0, -1
        csrw pmpaddr1, t0
        li t0, 0x1f19
        csrw pmpcfg0, t0`;
      const rig = await Rig.of(tier, supervisor('li t0, 0x3000\n ld a0, 0(t0)\n sd a0, 8(t0)', readOnlyTable));
      rig.map(3, DATA, READ_WRITE & ~PTE.D);
      rig.store(DATA, 5n);
      rig.finish();
      expect([rig.hart.x(10), rig.hart.x(8), rig.hart.x(9)]).toEqual([5n, CAUSE.storeAccess, 0x3008n]);
      expect(rig.load(ENTRY)).toBe(pte(DATA, READ_WRITE & ~PTE.D));
    });

    test.each([
      ['A', 'ld a0, 0(t0)', READ_WRITE & ~USED, CAUSE.loadPage],
      ['D', 'sd a0, 0(t0)', READ_WRITE & ~PTE.D, CAUSE.storePage],
    ])('without menvcfg.ADUE a page whose %s is missing faults (Svade)', async (_, access, flags, cause) => {
      const rig = await Rig.of(tier, supervisor(`li t0, 0x3000\n ${access}`, environment(0n)));
      rig.map(3, DATA, flags);
      rig.finish();
      expect([rig.hart.x(8), rig.hart.x(9)]).toEqual([cause, 0x3000n]);
      expect(rig.load(ENTRY)).toBe(pte(DATA, flags));
    });

    test('with menvcfg.ADUE hardware sets them (Svadu)', async () => {
      const rig = await Rig.of(tier, supervisor('li t0, 0x3000\n sd a0, 0(t0)', environment(ADUE)));
      rig.map(3, DATA, READ_WRITE & ~USED);
      rig.finish();
      expect([rig.hart.x(8), rig.load(ENTRY)]).toEqual([CAUSE.ecallFromS, pte(DATA, READ_WRITE)]);
    });
  });

  describe('page table entries', () => {
    test.each([
      ['a memory type without menvcfg.PBMTE', 0n, 1n << 61n],
      ['the reserved memory type', PBMTE, 3n << 61n],
      ['a reserved bit', PBMTE, 1n << 54n],
    ])('with %s fault', async (_, bits, high) => {
      const rig = await Rig.of(tier, supervisor('li t0, 0x3000\n ld a0, 0(t0)', environment(bits)));
      rig.map(3, DATA, READ_ONLY);
      rig.store(ENTRY, pte(DATA, READ_ONLY) | high);
      rig.finish();
      expect([rig.hart.x(8), rig.hart.x(9)]).toEqual([CAUSE.loadPage, 0x3000n]);
    });

    test('with a memory type are pages like others under menvcfg.PBMTE', async () => {
      const rig = await Rig.of(tier, supervisor('li t0, 0x3000\n ld a0, 0(t0)', environment(PBMTE)));
      rig.map(3, DATA, READ_ONLY);
      rig.store(ENTRY, pte(DATA, READ_ONLY) | (1n << 61n));
      rig.store(DATA, 7n);
      rig.finish();
      expect([rig.hart.x(8), rig.hart.x(10)]).toEqual([CAUSE.ecallFromS, 7n]);
    });

    test('of users are never executed by S-mode, even after a load under SUM', async () => {
      const rig = await Rig.of(
        tier,
        supervisor('li t1, 0x40000\n csrs sstatus, t1\n li t0, 0x3000\n ld a0, 0(t0)\n jr t0'),
      );
      rig.map(3, DATA, READ_ONLY | PTE.X | PTE.U);
      rig.store(DATA, 0x13n);
      rig.finish();
      expect([rig.hart.x(10), rig.hart.x(8), rig.hart.x(9)]).toEqual([0x13n, CAUSE.fetchPage, 0x3000n]);
    });
  });

  test.each([
    ['sfence.w.inval', 'sfence.w.inval'],
    ['sfence.inval.ir', 'sfence.inval.ir'],
    ['setting no bit of a read-only CSR by a register', 'csrrs x0, cycle, t6'],
  ])('%s is illegal in U-mode', async (_, instruction) => {
    const rig = await Rig.of(
      tier,
      supervisor(
        `nop\n${instruction}`,
        'li t6, 7\n csrw mcounteren, t6\n csrw scounteren, t6\n li t6, 0\n csrw satp, x0\n li t0, 0x1800\n csrc mstatus, t0',
      ),
    );
    rig.finish();
    expect(rig.hart.x(8)).toBe(CAUSE.illegal);
  });
});
