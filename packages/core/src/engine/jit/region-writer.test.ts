/** What compiled code does that single instructions do not show: calls, floats, budgets, interrupts. Programs, and what they leave behind. */

import { describe, expect, test } from 'vitest';
import { EXIT } from '../interpreter.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { DATA, RAM, Rig } from '../testing/rig.ts';
import { TIERS } from '../testing/tiers.ts';

const END = `
1:      wfi
        j 1b`;
const FS_DIRTY = 'li t0, 0x6000\n csrs mstatus, t0';
/** Nothing answers by itself there: a device. */
const DEVICE = 0x1000_0000;

let reference: Rig | undefined;
let nextOfReference = RAM + 0x4_0000;

/** The hart of an interpreter at the beginning of a program. */
async function interpreted(text: string): Promise<Rig> {
  reference ??= await Rig.of('interpreter', '');
  reference.place(nextOfReference, text);
  reference.hart.reset(BigInt(nextOfReference));
  nextOfReference += 4 * PAGE_SIZE;
  return reference;
}

/** Few instructions, so that there are many runs: code is compiled between them, and entered in many places. */
const SLICE = 50;

describe.each(TIERS)('the %s', (tier) => {
  let made: Rig | undefined;
  let device = (): number => 1;
  let next = RAM + 0x4_0000;

  /** The hart at the beginning of a program, in memory where nothing ran before: making engines is what takes long. */
  async function started(text: string, onLoad = (): number => 1): Promise<Rig> {
    made ??= await Rig.of(tier, '', { mmioLoad: () => device() });
    device = onLoad;
    made.place(next, text);
    made.hart.reset(BigInt(next));
    next += 4 * PAGE_SIZE;
    return made;
  }

  /** Runs to the program's WFI, in compiled code where there may be any. */
  function finish(rig: Rig): void {
    for (let turn = 0; turn < 20_000; turn++) {
      if (rig.engine.run(rig.hart, SLICE) !== EXIT.WAIT) continue;
      expectCompiled(rig);
      return;
    }
    throw new Error('The program reaches its wfi');
  }

  function expectCompiled(rig: Rig): void {
    if (tier !== 'interpreter') expect(rig.hart.get64('compiled')).toBeGreaterThan(0n);
  }

  describe('calls', () => {
    test('within each other come back from any depth', async () => {
      const rig = await started(
        `
        li sp, ${DATA}
        li s0, 20
again:  li a0, 300
        call sum
        add a1, a1, a0
        addi s0, s0, -1
        bnez s0, again
        ${END}
sum:    beqz a0, zero
        addi sp, sp, -16
        sd ra, 0(sp)
        sd a0, 8(sp)
        addi a0, a0, -1
        call sum
        ld t0, 8(sp)
        add a0, a0, t0
        ld ra, 0(sp)
        addi sp, sp, 16
zero:   ret`,
      );
      finish(rig);
      expect([rig.hart.x(11), rig.hart.x(2)]).toEqual([20n * 45150n, BigInt(DATA)]);
    });

    test('that never come back (longjmp) go on where they jump', async () => {
      const rig = await started(
        `
        li sp, ${DATA}
        la s1, landed
        li s0, 500
again:  addi sp, sp, -64
        call outer
        li a0, -1
landed: addi sp, sp, 64
        addi s0, s0, -1
        bnez s0, again
        ${END}
outer:  addi sp, sp, -16
        call inner
        li a0, -1
        ret
inner:  addi a0, a0, 1
        addi sp, sp, 16
        mv ra, s1
        ret`,
      );
      finish(rig);
      expect([rig.hart.x(10), rig.hart.x(2)]).toEqual([500n, BigInt(DATA)]);
    });

    test('that return to somewhere else than behind the call go on there', async () => {
      const rig = await started(
        `
        li s0, 500
again:  call function
        li a0, -1
        addi s0, s0, -1
        bnez s0, again
        ${END}
function: addi a0, a0, 2
        addi ra, ra, 4
        ret`,
      );
      finish(rig);
      expect(rig.hart.x(10)).toBe(1000n);
    });

    test('of two coroutines change places', async () => {
      const rig = await started(
        `
        la t0, other
        li s0, 500
one:    addi a0, a0, 1
        jalr t0, 0(t0)
        addi s0, s0, -1
        bnez s0, one
        ${END}
other:  addi a1, a1, 3
        jalr t0, 0(t0)
        addi a1, a1, 5
        jalr t0, 0(t0)
        j other`,
      );
      finish(rig);
      expect([rig.hart.x(10), rig.hart.x(11)]).toEqual([500n, 250n * 8n]);
    });
  });

  describe('float state', () => {
    const LOOP = `
        li s0, 300
loop:   fadd.d fa0, fa0, fa1
        addi s0, s0, -1
        bnez s0, loop`;

    test('that is off makes a float instruction illegal, compiled or not', async () => {
      const rig = await started(
        `
        la t0, trapped
        csrw mtvec, t0
        ${FS_DIRTY}
        ${LOOP}
        li t0, 0x6000
        csrc mstatus, t0
        li s0, 300
        la t0, loop
        jr t0
        .align 2
trapped: csrr a0, mcause
        csrr a1, mepc
        la a2, loop
        ${END}`,
      );
      finish(rig);
      expect([rig.hart.x(10), rig.hart.x(11)]).toEqual([2n, rig.hart.x(12)]);
    });

    test('that is clean is dirty after a loop that writes floats', async () => {
      const rig = await started(
        `
        li s1, 3
again:  li t0, 0x6000
        csrc mstatus, t0
        li t0, 0x4000
        csrs mstatus, t0
        ${LOOP}
        csrr a0, mstatus
        addi s1, s1, -1
        bnez s1, again${END}`,
      );
      finish(rig);
      expect(rig.hart.x(10) & 0x6000n).toBe(0x6000n);
    });

    test.each([
      ['is saved by compiled code where it is clean, and stays so', '0x4000', 0x4000n, 0n],
      ['that is off makes saving it illegal', '0', 0n, 2n],
    ])('%s', async (_, state, wanted, cause) => {
      const rig = await started(
        `
        la t0, trapped
        csrw mtvec, t0
        li t0, 0x6000
        csrs mstatus, t0
        li t0, 77
        fmv.d.x fs0, t0
        li s1, 300
        li a3, ${DATA}
        li a4, 0x4000
again:  li t0, 0x6000
        csrc mstatus, t0
        csrs mstatus, a4
        call save
        csrr a0, mstatus
        addi s1, s1, -1
        bnez s1, again
        li a4, ${state}
        li s1, 300
        bnez s2, end
        li s2, 1
        j again
end:    ${END}
        .align 2
trapped: csrr a1, mcause
        csrr a0, mstatus
        j end
save:   fsd fs0, 0(a3)
        fmv.x.d a2, fs0
        ret`,
      );
      finish(rig);
      expect([rig.hart.x(10) & 0x6000n, rig.hart.x(11)]).toEqual([wanted, cause]);
      expect([rig.hart.x(12), rig.load(DATA)]).toEqual([77n, 77n]);
    });

    test('that is clean lets a function that saves floats be compiled code', async () => {
      const rig = await started(`
        li t0, 0x4000
        csrs mstatus, t0
        li s0, 2000
        li a3, ${DATA}
loop:   call save
        addi s0, s0, -1
        bnez s0, loop
        ${END}
save:   fsd fs0, 0(a3)
        fsd fs1, 8(a3)
        ret`);
      finish(rig);
      if (tier !== 'interpreter')
        expect(Number(rig.hart.get64('compiled'))).toBeGreaterThan(0.8 * Number(rig.hart.get64('retired')));
    });

    test('is looked at again behind a call that changes the rounding mode', async () => {
      // 1 + 2^-53 is 1 to the nearest, and more upwards.
      const rig = await started(
        `
        ${FS_DIRTY}
        li t0, 1
        fcvt.d.l fa1, t0
        li t0, ${0x3ca0n << 48n}
        fmv.d.x fa2, t0
        li s0, 300
loop:   csrwi frm, 0
        fadd.d fa3, fa1, fa2
        call up
        fadd.d fa4, fa1, fa2
        addi s0, s0, -1
        bnez s0, loop
        fmv.x.d a0, fa3
        fmv.x.d a1, fa4
        ${END}
up:     csrwi frm, 3
        ret`,
      );
      finish(rig);
      expect([rig.hart.x(10), rig.hart.x(11)]).toEqual([0x3ff0n << 48n, (0x3ff0n << 48n) + 1n]);
    });

    test('raises NX where it was not raised, each time that the flags are cleared in a loop', async () => {
      const rig = await started(
        `
        ${FS_DIRTY}
        li t0, 1
        fcvt.d.l fa1, t0
        li t0, 3
        fcvt.d.l fa2, t0
        li s0, 300
loop:   csrwi fflags, 0
        fadd.d fa0, fa1, fa2
        csrr t1, fflags
        add a1, a1, t1
        fdiv.d fa0, fa1, fa2
        csrr t1, fflags
        add a0, a0, t1
        fadd.d fa0, fa1, fa2
        csrrwi t1, fflags, 0
        add a2, a2, t1
        addi s0, s0, -1
        bnez s0, loop
        ${END}`,
      );
      finish(rig);
      // Exact, inexact (NX is 1), and inexact still.
      expect([rig.hart.x(11), rig.hart.x(10), rig.hart.x(12)]).toEqual([0n, 300n, 300n]);
    });

    test('raises what else there is to raise while NX is raised already', async () => {
      const rig = await started(
        `
        ${FS_DIRTY}
        li t0, 1
        fcvt.d.l fa1, t0
        li s0, 300
loop:   csrwi fflags, 1
        fdiv.d fa0, fa1, fa2
        fsub.d fa3, fa0, fa0
        csrr t1, fflags
        add a0, a0, t1
        addi s0, s0, -1
        bnez s0, loop
        ${END}`,
      );
      finish(rig);
      // NX, DZ by 1 / 0, NV by infinity less infinity.
      expect(rig.hart.x(10)).toBe(300n * (1n + 8n + 16n));
    });
  });

  /** Endless loops, the most instructions from one look at the limit to the next, and a register that counts times round. */
  const SHAPES = [
    ['of one block', 'loop: addi a0, a0, 1\n nop\n j loop', 3],
    ['of one instruction', 'loop: j loop', 1],
    ['with two ways back', 'loop: addi a0, a0, 1\n andi t0, a0, 1\n beqz t0, loop\n nop\n nop\n j loop', 6],
    ['within a loop', 'loop: addi a0, a0, 1\n li t0, 3\ninner: addi t0, t0, -1\n nop\n bnez t0, inner\n j loop', 6],
    [
      'around a diamond',
      'loop: addi a0, a0, 1\n andi t0, a0, 1\n beqz t0, 1f\n nop\n j 2f\n1: nop\n nop\n2: j loop',
      6,
    ],
    [
      'entered in the middle as well',
      'beqz x0, second\nfirst: addi a0, a0, 1\nsecond: nop\n bnez a0, first\n j first',
      5,
    ],
    ['around a call', 'loop: addi a0, a0, 1\n call function\n j loop\nfunction: nop\n ret', 6],
    [
      'around a call that is never compiled in',
      'loop: addi a0, a0, 1\n la t0, function\n jalr t0\n j loop\nfunction: nop\n ret',
      7,
    ],
    ['of jumps to registers', 'la t1, first\n la t2, second\nfirst: addi a0, a0, 1\n jr t2\nsecond: nop\n jr t1', 8],
    ['of calls that never return', 'loop: addi a0, a0, 1\n call loop', 4],
    ['of returns', 'la ra, loop\nloop: addi a0, a0, 1\n ret', 4],
    ['over two pages', `j loop\n ${'nop\n'.repeat(1021)}loop: addi a0, a0, 1\n nop\n nop\n nop\n j loop`, 6],
  ] as const;

  describe('a loop without end', () => {
    test.each(SHAPES)(
      '%s is left when its budget is used up, not before and not much later',
      async (_, text, longest) => {
        const rig = await started(text);
        for (let turn = 0; turn < 40; turn++) {
          const budget = 17 + 10 * turn;
          const before = rig.hart.get64('retired');
          expect(rig.engine.run(rig.hart, budget)).toBe(EXIT.BUDGET);
          const ran = Number(rig.hart.get64('retired') - before);
          expect(ran, 'not before').toBeGreaterThanOrEqual(budget);
          expect(ran, 'not much later').toBeLessThan(budget + longest);
        }
        expectCompiled(rig);
      },
    );

    test.each(SHAPES)('%s has run as far as it counts', async (_, text) => {
      const rig = await started(text);
      for (let turn = 0; turn < 40; turn++) rig.engine.run(rig.hart, SLICE);
      const [counted, rounds] = [rig.hart.get64('retired'), rig.hart.x(10)];
      // The interpreter, looking at its limit as often as it can, may not come by the same instruction: but by those around it.
      const steps = await interpreted(text);
      let before = 0n;
      while (steps.hart.get64('retired') < counted) {
        before = steps.hart.x(10);
        steps.engine.run(steps.hart, 1);
      }
      expect([before, steps.hart.x(10)]).toContain(rounds);
      if (steps.hart.get64('retired') === counted) expect(steps.hart.x(10)).toBe(rounds);
    });
  });

  describe('somebody who wants attention', () => {
    /** Each `%` of these is a load from a device. */
    const LOOPS = [
      ['of one block', 'loop: addi a0, a0, 1\n %\n nop\n j loop'],
      ['with two ways back', 'loop: addi a0, a0, 1\n andi t0, a0, 1\n %\n beqz t0, loop\n nop\n j loop'],
      ['within a loop', 'loop: addi a0, a0, 1\n %\n li t0, 3\ninner: addi t0, t0, -1\n bnez t0, inner\n j loop'],
      ['around a call', 'loop: addi a0, a0, 1\n call function\n j loop\nfunction: %\n ret'],
      [
        'of calls within calls',
        'loop: addi a0, a0, 1\n call outer\n j loop\nouter: mv s2, ra\n call function\n jr s2\nfunction: %\n ret',
      ],
      ['of jumps to registers', 'la t1, loop\n la t2, second\nloop: addi a0, a0, 1\n jr t2\nsecond: %\n jr t1'],
    ] as const;

    test.each(LOOPS)('is heard in a loop %s', async (_, text) => {
      const asks: bigint[] = [];
      const rig: Rig = await started(`li a5, ${DEVICE}\n ${text.replace('%', 'lw a4, 0(a5)')}`, () => {
        if (rig.hart.x(10) % 50n === 0n) {
          asks.push(rig.hart.x(10));
          rig.hart.requestAttention();
        }
        return 1;
      });
      for (let wanted = 50n; wanted <= 1000n; wanted += 50n) {
        expect(rig.engine.run(rig.hart, 1_000_000)).toBe(EXIT.BUDGET);
        expect([rig.hart.x(10), asks.at(-1)]).toEqual([wanted, wanted]);
      }
      expectCompiled(rig);
    });

    test.each(LOOPS)('by an interrupt is served at once, in a loop %s', async (_, text) => {
      const SOFTWARE = 8;
      const rig: Rig = await started(
        `
        la t0, taken
        csrw mtvec, t0
        li t0, ${SOFTWARE}
        csrw mie, t0
        csrsi mstatus, 8
        li a5, ${DEVICE}
        j start
        .align 2
taken:  mv a1, a0
        csrw mie, x0
        ${END}
start:  ${text.replace('%', 'lw a4, 0(a5)')}`,
        () => {
          if (rig.hart.x(10) === 477n) rig.hart.setPending(SOFTWARE, true);
          return 1;
        },
      );
      finish(rig);
      rig.hart.setPending(SOFTWARE, false);
      expect(rig.hart.x(11)).toBe(477n);
    });

    test('by an interrupt that is enabled in a loop is served before the next instruction', async () => {
      // In M-mode sstatus.SIE enables nothing: in S-mode it does.
      const rig = await started(
        `
        la t0, taken
        csrw stvec, t0
        li t0, 2
        csrw mideleg, t0
        csrw mie, t0
        li t0, -1
        csrw pmpaddr0, t0
        li t0, 0x1f
        csrw pmpcfg0, t0
        li t0, 0x1800
        csrc mstatus, t0
        li t0, 0x800
        csrs mstatus, t0
        la t0, body
        csrw mepc, t0
        mret
body:   li s0, 300
loop:   csrci sstatus, 2
        csrsi sip, 2
        addi a0, a0, 1
        csrsi sstatus, 2
        addi a0, a0, 100
        addi s0, s0, -1
        bnez s0, loop
        ${END}
        .align 2
taken:  add a1, a1, a0
        csrci sip, 2
        li a0, 0
        sret`,
      );
      finish(rig);
      // Each interrupt but the first finds the 100 of the time before.
      expect(rig.hart.x(11)).toBe(1n + 299n * 101n);
    });
  });

  test('a stack frame that lies in two pages is no reason to leave', async () => {
    const rig = await started(`
        li sp, ${DATA + PAGE_SIZE + 32}
        li s0, 2000
loop:   call function
        add s1, s1, a0
        addi s0, s0, -1
        bnez s0, loop
        ${END}
function: addi sp, sp, -64
        sd ra, 56(sp)
        sd s0, 48(sp)
        sd s1, 8(sp)
        sd s0, 0(sp)
        ld a0, 0(sp)
        ld s1, 8(sp)
        ld s0, 48(sp)
        ld ra, 56(sp)
        addi sp, sp, 64
        ret`);
    finish(rig);
    expect(rig.hart.x(9)).toBe((2000n * 2001n) / 2n);
    if (tier !== 'interpreter') expect(rig.hart.get64('slowSteps')).toBeLessThan(500n);
  });

  test('registers that were written before a trap are seen by its handler', async () => {
    const rig = await started(
      `
        la t0, trapped
        csrw mtvec, t0
        li s0, 560
        li a5, ${RAM}
loop:   addi a0, a0, 1
        add a1, a1, a0
        li t1, 20
        bltu t1, s0, fine
        li a5, 0
fine:   ld a2, 0(a5)
        addi a3, a3, 1
        addi s0, s0, -1
        bnez s0, loop
        .align 2
trapped: csrr a4, mcause
        ${END}`,
      () => 0,
    );
    finish(rig);
    expect([10, 11, 13, 14, 8].map((register) => rig.hart.x(register))).toEqual([
      541n,
      (541n * 542n) / 2n,
      540n,
      5n,
      20n,
    ]);
  });
});
