/** What the caches of translation may keep, and what ends it: tables that change, address spaces, global pages, SUM, PMP. With Sv57's five levels. */

import { beforeAll, describe, expect, test } from 'vitest';
import { assert, defined } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { assembleProgram } from '../isa/assemble-program.ts';
import { csrIndex } from '../isa/csrs.ts';
import { Domain } from './domain.ts';
import { Engine, type EngineKind } from './engine.ts';
import type { Hart } from './hart.ts';
import { EXIT } from './interpreter.ts';

const RAM = 0x8000_0000;
const BIG = 2 * 1024 ** 2;
const RAM_BYTES = 4 * BIG;
const TABLES = RAM + 0x10_0000;
/** Tables of a second set, as the first one but for what it maps. */
const OTHER = TABLES + 0x1_0000;
const DATA = RAM + BIG;
const OTHER_DATA = RAM + 2 * BIG;
/** The address that tests are about: in the third page. */
const VA = 0x3000;
const BUDGET = 100_000;

const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, G: 32, A: 64, D: 128 } as const;
const ALL = PTE.V | PTE.R | PTE.W | PTE.X | PTE.A | PTE.D;
const SUM = 1 << 18;

function pte(physical: number, flags: number): bigint {
  return (BigInt(physical / PAGE_SIZE) << 10n) | BigInt(flags);
}

/** satp for Sv57. */
function satp(tables: number, asid: number): bigint {
  return (10n << 60n) | (BigInt(asid) << 44n) | BigInt(tables / PAGE_SIZE);
}

/** The entry of level `level` on the way to VA. Level 0 has the pages. */
function entryOf(tables: number, level: number): number {
  return tableOf(tables, level) + (level === 0 ? 8 * (VA / PAGE_SIZE) : 0);
}

/** The table of that level. */
function tableOf(tables: number, level: number): number {
  return tables + (4 - level) * PAGE_SIZE;
}

/**
 * `body` in S-mode in the address space 1 of the tables at TABLES. ecall ends it; whatever else traps is skipped, counted in s3, and leaves its
 * cause in s0. t5 is the handler's.
 */
function supervisor(body: string): string {
  return `
        la t0, trapped
        csrw mtvec, t0
        li t0, ${satp(TABLES, 1)}
        csrw satp, t0
        li t0, 0x1800
        csrc mstatus, t0
        li t0, 0x800
        csrs mstatus, t0
        la t0, body
        csrw mepc, t0
        mret
body:   li s2, ${VA}
        ${body}
        ecall
        .align 2
trapped: csrr t5, mcause
        addi t5, t5, -9
        beqz t5, 1f
        addi s0, t5, 9
        addi s3, s3, 1
        csrr t5, mepc
        addi t5, t5, 4
        csrw mepc, t5
        mret
1:      wfi
        j 1b`;
}

let kind: EngineKind = 'jit';

class Rig {
  readonly domain: Domain;
  readonly engine: Engine;
  readonly hart: Hart;

  /** Both sets of tables map VA, to DATA and OTHER_DATA, and all of RAM where it is, as global. */
  static async of(text: string, leaf: number = ALL): Promise<Rig> {
    const domain = new Domain([{ base: RAM, sizeBytes: RAM_BYTES, writable: true }]);
    const silent = { mmioLoad: () => 0, mmioStore: () => 0, readTime: () => {}, timerChanged: () => {} };
    const rig = new Rig(domain, await Engine.create(domain, silent, { kind }));
    const { bytes } = assembleProgram(text, BigInt(RAM));
    for (let at = 0; at < bytes.length; at++) domain.u8[rig.#host(RAM + at)] = bytes[at] ?? 0;
    rig.hart.reset(BigInt(RAM));
    rig.pmp([[0x1f, -1n]]);
    for (const [tables, data] of [
      [TABLES, DATA],
      [OTHER, OTHER_DATA],
    ] as const) {
      for (const level of [4, 3, 2, 1]) rig.store(entryOf(tables, level), pte(tableOf(tables, level - 1), PTE.V));
      rig.store(entryOf(tables, 2) + 8 * 2, pte(RAM, ALL | PTE.G));
      rig.store(entryOf(tables, 0), pte(data, leaf));
      rig.store(data, data === DATA ? 111n : 222n);
    }
    return rig;
  }

  private constructor(domain: Domain, engine: Engine) {
    this.domain = domain;
    this.engine = engine;
    this.hart = engine.addHart(0);
  }

  #host(address: number): number {
    return this.domain.guest.host(this.domain.guest.pageIndex(address), true) + (address % PAGE_SIZE);
  }

  store(address: number, value: bigint): void {
    this.domain.u64[this.#host(address) >>> 3] = value;
  }

  /** Instructions at `address`. */
  code(address: number, text: string): void {
    for (const [at, byte] of assembleProgram(text, 0n).bytes.entries()) this.domain.u8[this.#host(address + at)] = byte;
  }

  /** The first PMP entries: configuration and address. */
  pmp(entries: readonly (readonly [config: number, address: bigint])[]): void {
    const write = (number: number, value: bigint): void =>
      this.hart.writeCsr(defined(csrIndex(number), 'a CSR'), BigInt.asUintN(64, value));
    for (const [index, [, address]] of entries.entries()) write(0x3b0 + index, address);
    write(
      0x3a0,
      entries.reduce((all, [config], index) => all | (BigInt(config) << BigInt(8 * index)), 0n),
    );
  }

  /** Runs to the next WFI. */
  finish(): void {
    for (let turn = 0; turn < 10; turn++) if (this.engine.run(this.hart, BUDGET) === EXIT.WAIT) return;
    assert(false, 'the program reaches its wfi');
  }

  /** a0, a1, ... */
  results(count: number): bigint[] {
    return Array.from({ length: count }, (_, index) => this.hart.x(10 + index));
  }
}

/** Puts `value` where the table entry at `address` is. */
const setEntry = (address: number, value: bigint): string => `li t1, ${address}\n li t2, ${value}\n sd t2, 0(t1)`;

describe.each(['interpreter', 'jit-eager'] as const)('with the engine %s', (chosen) => {
  beforeAll(() => {
    kind = chosen;
  });

  describe('a table that changes', () => {
    const fences = { everything: 'sfence.vma x0, x0', 'one address space': 'li t3, 1\n sfence.vma x0, t3' };
    const cases = [0, 1, 2, 3, 4].flatMap((level) =>
      Object.entries(fences).map(([name, fence]) => [level, name, fence] as const),
    );

    /** Where the second set of tables takes over, when the entry of `level` is its. */
    const takesOver = (level: number): string =>
      setEntry(entryOf(TABLES, level), level === 0 ? pte(OTHER_DATA, ALL) : pte(tableOf(OTHER, level - 1), PTE.V));

    test.each(cases)(
      'at level %i is the new one after sfence.vma of %s, for loads and stores',
      async (level, _, fence) => {
        const rig = await Rig.of(
          supervisor(`
        ld a0, 0(s2)
        sd a0, 8(s2)
        ${takesOver(level)}
        ${fence}
        ld a1, 0(s2)
        sd a1, 16(s2)
        ld a2, 16(s2)`),
        );
        rig.finish();
        expect(rig.results(3)).toEqual([111n, 222n, 222n]);
        expect(rig.hart.x(19), 'traps').toBe(0n);
      },
    );

    test.each(cases)('at level %i is the new one after sfence.vma of %s, for code', async (level, _, fence) => {
      const rig = await Rig.of(
        supervisor(`
        jalr s2
        mv a1, a0
        ${takesOver(level)}
        ${fence}
        jalr s2`),
      );
      rig.code(DATA, 'li a0, 5\n ret');
      rig.code(OTHER_DATA, 'li a0, 6\n ret');
      rig.finish();
      expect(rig.results(2)).toEqual([6n, 5n]);
    });

    test('is the new one for every page of it, the first access of which comes after the fence', async () => {
      const rig = await Rig.of(
        supervisor(`
        li s4, ${VA + PAGE_SIZE}
        ld a0, 0(s2)
        ${setEntry(entryOf(TABLES, 0) + 8, pte(OTHER_DATA, ALL))}
        sfence.vma s4, x0
        ld a1, 0(s4)`),
      );
      rig.store(entryOf(TABLES, 0) + 8, pte(DATA, ALL));
      rig.finish();
      expect(rig.results(2)).toEqual([111n, 222n]);
    });

    test.each(['sfence.vma x0, x0', 'sfence.vma s2, x0', 'sfence.vma s2, t3'])(
      'is the new one for a global page after %s',
      async (fence) => {
        const rig = await Rig.of(
          supervisor(`
        li t3, 1
        ld a0, 0(s2)
        sd a0, 8(s2)
        ${setEntry(entryOf(TABLES, 0), pte(OTHER_DATA, ALL | PTE.G))}
        ${fence}
        ld a1, 0(s2)
        sd a1, 16(s2)
        ld a2, 16(s2)`),
          ALL | PTE.G,
        );
        rig.finish();
        expect(rig.results(3)).toEqual([111n, 222n, 222n]);
      },
    );

    test.each(['', 'sfence.vma s2, x0'])(
      'that was never written faults, and maps once it is: with "%s"',
      async (fence) => {
        const fresh = RAM + 0x20_0000 - PAGE_SIZE;
        const rig = await Rig.of(
          supervisor(`
        li s2, ${VA + BIG}
        ld a0, 0(s2)
        ${setEntry(fresh + 8 * 3, pte(DATA, ALL))}
        ${fence}
        ld a0, 0(s2)`),
        );
        rig.store(entryOf(TABLES, 1) + 8, pte(fresh, PTE.V));
        rig.finish();
        expect([rig.hart.x(8), rig.hart.x(19)], 'a load page fault, once').toEqual([13n, 1n]);
        expect(rig.results(1)).toEqual([111n]);
      },
    );

    test.each([
      ['its own address', BIG + 0x3000],
      ['another address in it', BIG + 0x8000],
    ])('from a leaf of 2 MiB into pages is the new one after sfence.vma of %s', async (_, fenced) => {
      const rig = await Rig.of(
        supervisor(`
        li s2, ${BIG + 0x3000}
        ld a0, 0(s2)
        ${setEntry(entryOf(TABLES, 1) + 8, pte(OTHER_DATA, ALL))}
        li t0, ${fenced}
        sfence.vma t0, x0
        ld a1, 0(s2)
        li t0, ${BIG + 0x4000}
        ld a2, 0(t0)`),
      );
      rig.store(entryOf(TABLES, 1) + 8, pte(DATA, ALL));
      for (const [at, value] of [
        [DATA + 0x3000, 1n],
        [OTHER_DATA + 0x3000, 2n],
        [OTHER_DATA + 0x4000, 3n],
      ] as const)
        rig.store(at, value);
      rig.finish();
      expect(rig.results(3)).toEqual([1n, 2n, 3n]);
    });

    test.each([
      ['a page', VA, 0],
      ['2 MiB', BIG + 0x3000, 1],
    ])(
      'in A and D as hardware does it: a leaf of %s that was read is marked dirty when it is written',
      async (_, va, level) => {
        const slot = level === 0 ? entryOf(TABLES, 0) : entryOf(TABLES, 1) + 8;
        const flags = PTE.V | PTE.R | PTE.W;
        const rig = await Rig.of(
          supervisor(`
        li s2, ${va}
        li s4, ${slot}
        ld a0, 0(s2)
        ld a0, 0(s4)
        li t0, ${va + 4096 * level}
        ld t0, 0(t0)
        ld a1, 0(s4)
        sd t0, 8(s2)
        ld a2, 0(s4)`),
        );
        rig.store(slot, pte(DATA, flags));
        rig.finish();
        const seen = rig.results(3).map((value) => Number(value & 0xffn));
        expect(seen).toEqual([flags | PTE.A, flags | PTE.A, flags | PTE.A | PTE.D]);
      },
    );
  });

  describe('address spaces', () => {
    const toOther = `li t1, ${satp(OTHER, 2)}\n csrw satp, t1`;
    const back = `li t1, ${satp(TABLES, 1)}\n csrw satp, t1`;

    test('have their own pages of S-mode, when these are not global, and the global ones are shared', async () => {
      const rig = await Rig.of(
        supervisor(`
        ld a0, 0(s2)
        ${toOther}
        ld a1, 0(s2)
        ${back}
        ld a2, 0(s2)
        ${toOther}
        ld a3, 0(s2)`),
      );
      rig.finish();
      expect(rig.results(4)).toEqual([111n, 222n, 111n, 222n]);
    });

    test('have their own pages of S-mode when the first space shows only global ones before', async () => {
      const rig = await Rig.of(
        supervisor(`
        ${toOther}
        nop
        ${back}
        ld a0, 0(s2)
        ${toOther}
        ld a1, 0(s2)
        sd a1, 8(s2)
        ${back}
        ld a2, 8(s2)`),
      );
      rig.finish();
      expect(rig.results(3)).toEqual([111n, 222n, 0n]);
    });

    test('have their own pages of S-mode in a table that has global ones', async () => {
      const next = VA + PAGE_SIZE;
      const rig = await Rig.of(
        supervisor(`
        li s4, ${next}
        ld a0, 0(s2)
        ld a0, 0(s4)
        sd a0, 8(s4)
        ${toOther}
        ld a1, 0(s2)
        ld a1, 0(s4)
        sd a1, 8(s4)
        ${back}
        ld a2, 8(s4)`),
        ALL | PTE.G,
      );
      rig.store(entryOf(OTHER, 0), pte(DATA, ALL | PTE.G));
      rig.store(entryOf(TABLES, 0) + 8, pte(DATA, ALL));
      rig.store(entryOf(OTHER, 0) + 8, pte(OTHER_DATA, ALL));
      rig.finish();
      expect(rig.results(3)).toEqual([111n, 222n, 111n]);
    });

    test('have their own code in S-mode', async () => {
      const rig = await Rig.of(
        supervisor(`
        jalr s2
        mv a1, a0
        ${toOther}
        jalr s2
        mv a2, a0
        ${back}
        jalr s2`),
      );
      rig.code(DATA, 'li a0, 5\n ret');
      rig.code(OTHER_DATA, 'li a0, 6\n ret');
      rig.finish();
      expect(rig.results(3)).toEqual([5n, 5n, 6n]);
    });

    test('have their own user pages for S-mode, though SUM stays set across the change', async () => {
      const rig = await Rig.of(
        supervisor(`
        li t0, ${SUM}
        csrs sstatus, t0
        ld a0, 0(s2)
        sd a0, 8(s2)
        ${toOther}
        ld a1, 0(s2)
        sd a1, 8(s2)
        ${back}
        ld a2, 8(s2)`),
        ALL | PTE.U,
      );
      rig.finish();
      expect(rig.results(3)).toEqual([111n, 222n, 111n]);
    });

    test('that end by sfence.vma of the other one’s number keep the present one right', async () => {
      const rig = await Rig.of(
        supervisor(`
        ld a0, 0(s2)
        ${toOther}
        ld a1, 0(s2)
        ${setEntry(entryOf(TABLES, 1), pte(tableOf(OTHER, 0), PTE.V))}
        li t3, 1
        sfence.vma x0, t3
        ld a2, 0(s2)
        ${back}
        ld a3, 0(s2)`),
      );
      rig.finish();
      expect(rig.results(4)).toEqual([111n, 222n, 222n, 222n]);
    });

    test('are told apart for longer than there are numbers for them', async () => {
      const rig = await Rig.of(
        supervisor(`
        li s5, 5000
again:  ${toOther}
        sfence.vma
        ld t2, 0(s2)
        add a0, a0, t2
        ${back}
        ld t2, 0(s2)
        add a1, a1, t2
        addi s5, s5, -1
        bnez s5, again`),
      );
      for (let turn = 0; turn < 20 && rig.engine.run(rig.hart, BUDGET) !== EXIT.WAIT; turn++);
      expect(rig.results(2)).toEqual([5000n * 222n, 5000n * 111n]);
    });
  });

  describe('SUM', () => {
    test('lets S-mode reach user pages while it is set and not when it is clear, whatever was cached', async () => {
      const rig = await Rig.of(
        supervisor(`
        li t0, ${SUM}
        li a0, 1
        ld a0, 0(s2)
        csrs sstatus, t0
        ld a1, 0(s2)
        sd a1, 8(s2)
        csrc sstatus, t0
        li a2, 2
        ld a2, 0(s2)
        sd a1, 16(s2)
        csrs sstatus, t0
        ld a3, 8(s2)
        ld a4, 16(s2)`),
        ALL | PTE.U,
      );
      rig.finish();
      expect(rig.results(5)).toEqual([1n, 111n, 2n, 111n, 0n]);
      expect([rig.hart.x(8), rig.hart.x(19)], 'the last trap, and how many').toEqual([15n, 3n]);
    });

    test('never lets S-mode execute a user page', async () => {
      const rig = await Rig.of(
        supervisor(`
        li t0, ${SUM}
        csrs sstatus, t0
        ld a0, 0(s2)
        la s4, behind
        jr s2
behind: nop`),
        ALL | PTE.U,
      );
      // The handler would go on behind the user page's first instruction: let it find the end there at once.
      rig.hart.setX(19, 0n);
      for (let turn = 0; turn < 3; turn++) rig.engine.run(rig.hart, 200);
      expect(rig.hart.x(8)).toBe(12n);
    });
  });

  describe('PMP', () => {
    const NAPOT = 0x18;
    const TOR = 0x08;
    const [READ, WRITE, EXECUTE] = [1, 2, 4];
    const EVERYTHING = [NAPOT | READ | WRITE | EXECUTE, -1n] as const;
    const page = (address: number): bigint => BigInt(address / 4) | 0x1ffn;
    /** Reads and writes the page, the next one, and counts traps of each in a0 to a3. */
    const probe = `
        li s4, ${VA + PAGE_SIZE}
        ld t1, 0(s2)
        mv a0, s3
        sd t1, 0(s2)
        mv a1, s3
        ld t1, 0(s4)
        mv a2, s3
        sd t1, 0(s4)
        mv a3, s3`;

    test.each([
      ['opens all by a NAPOT entry', [EVERYTHING], [0n, 0n, 0n, 0n]],
      ['opens all by a TOR entry', [[TOR | 7, (1n << 54n) - 1n]], [0n, 0n, 0n, 0n]],
      ['closes one page', [[NAPOT, page(DATA)], EVERYTHING], [1n, 2n, 2n, 2n]],
      ['lets one page be read', [[NAPOT | READ, page(DATA)], EVERYTHING], [0n, 1n, 1n, 1n]],
      [
        'opens a page of those it closes behind',
        [[NAPOT | READ | WRITE, page(DATA)], [NAPOT, BigInt(DATA / 4) | 0x7ffn], EVERYTHING],
        [0n, 0n, 1n, 2n],
      ],
      [
        'closes a range between two entries',
        [[0, BigInt((DATA + PAGE_SIZE) / 4)], [TOR, BigInt((DATA + 2 * PAGE_SIZE) / 4)], EVERYTHING],
        [0n, 0n, 1n, 2n],
      ],
      [
        'closes all behind what it opens',
        [
          [NAPOT | 7, BigInt(RAM / 4) | ((1n << 18n) - 1n)],
          [NAPOT | 7, page(DATA)],
        ],
        [0n, 0n, 1n, 2n],
      ],
    ] as const)('that %s is obeyed, whatever was cached before', async (_, entries, traps) => {
      const rig = await Rig.of(supervisor(`${probe}\n wfi\n ${probe}`));
      rig.store(entryOf(TABLES, 0) + 8, pte(DATA + PAGE_SIZE, ALL));
      rig.finish();
      expect(rig.results(4)).toEqual([0n, 0n, 0n, 0n]);
      rig.pmp(entries);
      rig.finish();
      expect(rig.results(4)).toEqual(traps);
    });

    test('that closes a table makes the walk fault', async () => {
      const rig = await Rig.of(supervisor('ld a0, 0(s2)\n wfi\n li a1, 1\n ld a1, 0(s2)'));
      rig.finish();
      rig.pmp([[NAPOT, page(tableOf(TABLES, 0))], EVERYTHING]);
      rig.finish();
      expect(rig.results(2)).toEqual([111n, 1n]);
      expect(rig.hart.x(8), 'a load access fault').toBe(5n);
    });
  });
});
