/**
 * The part of every hot program that is not random: it sets the hart up, enters the program, and then is the handler of traps in M-mode
 * and, where they are delegated, in S-mode. Both log exceptions and go on behind them; a page fault at a risk is repaired and tried again.
 *
 * Interrupts leave no trace, so it makes no difference when they come: the timer's sets the next one at a moment by chance, and sometimes
 * raises a software interrupt for S-mode, which is acknowledged there.
 *
 * Registers while a handler runs: sp context; s0 xcause; s1 xepc; s2 xtval; s3 xstatus, to be restored; s4 what is shared; s5 end of the log;
 * s6 the instruction.
 */

import { hex } from '../../../src/base/numbers.ts';
import { type AssembledProgram, assembleProgram } from '../../../src/isa/assemble-program.ts';
import {
  DUMP_RECORD,
  DUMP_WORD,
  LOG,
  POWER_OFF,
  RECORD_KINDS,
  RUNTIME,
  TEST_DEVICE,
  TIME,
  TIMER_COMPARE,
  TRAP_RECORD,
} from '../places.ts';
import {
  CODE_RISKS,
  DUMMY,
  FINISH_WORD,
  INITIAL_F,
  INITIAL_X,
  MACHINE_CONTEXT,
  REMAP_WORD,
  RISKS,
  RISK_PARTNER,
  RISK_VA,
  SHARED,
  SHARED_CELLS as C,
  SUPERVISOR_CONTEXT,
  SWITCH_WORD,
} from './layout.ts';

type Level = 'm' | 's';

const FS = 0x6000;
const MIE_MTIE = 0x80;
/** Loads with the rights of the program, from pages that may only be executed too. */
const READ_CODE: Record<Level, number> = { m: 0x2_0000 | 0x8_0000, s: 0x4_0000 | 0x8_0000 };
/** What is logged of xstatus: what no interrupt changes. MPP MPIE or SPP SPIE, FS, SUM, MXR, MPRV. */
const LOGGED_STATUS: Record<Level, number> = { m: 0xe_7880, s: 0xc_6120 };
const SSIP = 2;
/** The program ends when its log comes to here: it traps more than it should. */
const MOST_LOGGED = LOG + 0x20_0000;
const CAUSE = { fetchAccess: 1, illegal: 2, fetchPage: 12, loadPage: 13, storePage: 15 } as const;
/** Ticks between two timer interrupts: so many at least, and up to 2047 more. */
const LEAST_TICKS = 300;

const header = (kind: number, length: number): number => kind | (length << 8);
const many = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index)).join('\n');
const ALL_REGISTERS_BUT_SP = [1, ...Array.from({ length: 29 }, (_, index) => index + 3)];

const start = `
        la    t0, mHandler
        csrw  mtvec, t0
        la    t0, sHandler
        csrw  stvec, t0
        li    t0, ${MACHINE_CONTEXT}
        csrw  mscratch, t0
        li    t0, ${SUPERVISOR_CONTEXT}
        csrw  sscratch, t0
        li    t0, -1
        srli  t0, t0, 10
        csrw  pmpaddr0, t0
        li    t0, 0x1f
        csrw  pmpcfg0, t0
        li    t0, 7
        csrw  mcounteren, t0
        csrw  scounteren, t0
        li    t0, ${1n << 61n}
        csrw  menvcfg, t0
        li    t0, ${FS}
        csrs  mstatus, t0
        csrw  fcsr, x0
        li    s4, ${SHARED}
        ld    t0, ${C.medeleg}(s4)
        csrw  medeleg, t0
        li    t0, ${SSIP}
        csrw  mideleg, t0
        ld    t0, ${C.satp}(s4)
        csrw  satp, t0
        sfence.vma
        ld    t0, ${C.mie}(s4)
        csrw  mie, t0
        andi  t0, t0, ${MIE_MTIE}
        # Never, or soon.
        li    t1, -1
        beqz  t0, 1f
        li    t1, ${TIME}
        ld    t1, (t1)
        addi  t1, t1, ${LEAST_TICKS}
1:      li    t0, ${TIMER_COMPARE}
        sd    t1, (t0)
        li    t0, 0x7e79aa
        csrc  mstatus, t0
        ld    t0, ${C.status}(s4)
        csrs  mstatus, t0
        ld    t0, ${C.entry}(s4)
        csrw  mepc, t0
        li    t0, ${INITIAL_F}
        ${many(32, (n) => `fld f${n}, ${8 * n}(t0)`)}
        li    sp, ${INITIAL_X}
        ${ALL_REGISTERS_BUT_SP.map((n) => `ld x${n}, ${8 * n}(sp)`).join('\n')}
        ld    sp, 16(sp)
        mret
`;

const handler = (l: Level): string => `
        .balign 4
${l}Handler:
        csrrw sp, ${l}scratch, sp
        ${ALL_REGISTERS_BUT_SP.map((n) => `sd x${n}, ${8 * n}(sp)`).join('\n')}
        csrr  t0, ${l}scratch
        sd    t0, 16(sp)
        csrw  ${l}scratch, sp
        csrr  s0, ${l}cause
        csrr  s1, ${l}epc
        csrr  s2, ${l}tval
        csrr  s3, ${l}status
        # No reservation outlives a trap.
        addi  t0, sp, ${DUMMY}
        sc.w  x0, x0, (t0)
        li    s4, ${SHARED}
        bltz  s0, ${l}Interrupt
        ld    s5, ${C.logPointer}(s4)
        li    t0, ${MOST_LOGGED}
        bgeu  s5, t0, end
        li    t0, ${CAUSE.fetchPage}
        beq   s0, t0, ${l}Trap
        li    t0, ${CAUSE.fetchAccess}
        beq   s0, t0, ${l}Trap
        li    t0, ${READ_CODE[l]}
        csrs  ${l}status, t0
        lhu   s6, (s1)
        andi  t1, s6, 3
        addi  t1, t1, -3
        bnez  t1, 1f
        lhu   t1, 2(s1)
        slli  t1, t1, 16
        or    s6, s6, t1
1:      csrc  ${l}status, t0
        li    t0, ${CAUSE.illegal}
        bne   s0, t0, ${l}Trap
        li    t0, ${hex(DUMP_WORD)}
        beq   s6, t0, ${l}Dump
        li    t0, ${hex(FINISH_WORD)}
        beq   s6, t0, ${l}Finish
        li    t0, ${hex(SWITCH_WORD)}
        beq   s6, t0, ${l}Switch
        li    t0, 0xfffff07f
        and   t0, s6, t0
        li    t1, ${hex(REMAP_WORD)}
        beq   t0, t1, ${l}Remap

${l}Trap:
        li    t0, ${header(RECORD_KINDS.trap, TRAP_RECORD)}
        sd    t0, (s5)
        sd    s0, 8(s5)
        sd    s1, 16(s5)
        sd    s2, 24(s5)
        li    t0, ${LOGGED_STATUS[l]}
        and   t0, t0, s3
        sd    t0, 32(s5)
        addi  s5, s5, ${8 * TRAP_RECORD}
        sd    s5, ${C.logPointer}(s4)
        li    t0, ${CAUSE.fetchAccess}
        beq   s0, t0, ${l}ToLink
        li    t0, ${CAUSE.fetchPage}
        beq   s0, t0, 1f
        li    t0, ${CAUSE.loadPage}
        beq   s0, t0, 1f
        li    t0, ${CAUSE.storePage}
        bne   s0, t0, ${l}Skip
1:      mv    a0, s2
        call  repair
        bnez  a0, ${l}Return
        li    t0, ${CAUSE.fetchPage}
        bne   s0, t0, ${l}Skip
        # A jump to nowhere has linked in x1.
${l}ToLink:
        ld    s1, 8(sp)
        j     ${l}Return
${l}Skip:
        andi  t0, s6, 3
        addi  t0, t0, -3
        seqz  t0, t0
        slli  t0, t0, 1
        addi  t0, t0, 2
        add   s1, s1, t0
${l}Return:
        csrw  ${l}epc, s1
        csrw  ${l}status, s3
        ${ALL_REGISTERS_BUT_SP.map((n) => `ld x${n}, ${8 * n}(sp)`).join('\n')}
        ld    sp, 16(sp)
        ${l}ret

${l}Dump:
        li    t0, ${FS}
        csrs  ${l}status, t0
        call  dump
        j     ${l}Skip
${l}Finish:
        li    t0, ${FS}
        csrs  ${l}status, t0
        call  dump
        j     end
${l}Switch:
        csrr  t0, satp
        ld    t1, ${C.otherSpace}(s4)
        xor   t0, t0, t1
        csrw  satp, t0
        j     ${l}Skip
${l}Remap:
        srli  t0, s6, 3
        andi  t0, t0, 0xf0
        add   t0, t0, s4
        ld    t1, ${C.windows}(t0)
        beqz  t1, ${l}Skip
        ld    t2, ${C.windows + 8}(t0)
        ld    t3, (t1)
        sd    t2, (t1)
        sd    t3, ${C.windows + 8}(t0)
        sfence.vma
        j     ${l}Skip
`;

const common = `
        # a0: the address that faulted -> 1 when it may be tried again
repair: li    t0, ${RISK_VA}
        sub   t1, a0, t0
        srli  t1, t1, 12
        li    t2, ${RISKS}
        bgeu  t1, t2, 1f
        # Code is fetched, data is not.
        sltiu t2, t1, ${CODE_RISKS}
        addi  t3, s0, -${CAUSE.fetchPage}
        seqz  t3, t3
        bne   t2, t3, 1f
        slli  t3, t1, 5
        add   t3, t3, s4
        ld    t4, ${C.risks + 16}(t3)
        beqz  t4, 1f
        ld    t5, ${C.risks}(t3)
        sd    t4, (t5)
        ld    t5, ${C.risks + 8}(t3)
        sd    t4, (t5)
        sfence.vma a0, x0
        xori  t1, t1, ${RISK_PARTNER}
        slli  t3, t1, 5
        add   t3, t3, s4
        ld    t4, ${C.risks + 24}(t3)
        ld    t5, ${C.risks}(t3)
        sd    t4, (t5)
        ld    t5, ${C.risks + 8}(t3)
        sd    t4, (t5)
        slli  t1, t1, 12
        add   t1, t1, t0
        sfence.vma t1, x0
        li    a0, 1
        ret
1:      li    a0, 0
        ret

dump:   li    t0, ${header(RECORD_KINDS.dump, DUMP_RECORD)}
        sd    t0, (s5)
        sd    s1, 8(s5)
        ${ALL_REGISTERS_BUT_SP.concat(2)
          .map((n) => `ld t0, ${8 * n}(sp)\nsd t0, ${8 + 8 * n}(s5)`)
          .join('\n')}
        addi  s5, s5, 264
        ${many(32, (n) => `fsd f${n}, ${8 * n}(s5)`)}
        csrr  t0, fcsr
        sd    t0, 256(s5)
        sd    x0, 264(s5)
        addi  s5, s5, ${8 * DUMP_RECORD - 264}
        sd    s5, ${C.logPointer}(s4)
        ret

end:    li    t0, ${header(RECORD_KINDS.ended, 1)}
        sd    t0, (s5)
        li    t0, ${TEST_DEVICE}
        li    t1, ${POWER_OFF}
        sw    t1, (t0)
1:      j     1b

mInterrupt:
        andi  t0, s0, 0xff
        addi  t0, t0, -7
        bnez  t0, mReturn
        ld    t1, ${C.chance}(s4)
        li    t2, 6364136223846793005
        mul   t1, t1, t2
        addi  t1, t1, 1443
        sd    t1, ${C.chance}(s4)
        srli  t2, t1, 33
        andi  t2, t2, 0x7ff
        addi  t2, t2, ${LEAST_TICKS}
        li    t3, ${TIME}
        ld    t4, (t3)
        add   t4, t4, t2
        li    t3, ${TIMER_COMPARE}
        sd    t4, (t3)
        srli  t2, t1, 62
        andi  t2, t2, ${SSIP}
        csrs  mip, t2
        j     mReturn

sInterrupt:
        li    t0, ${SSIP}
        csrc  sip, t0
        j     sReturn
`;

/** Assembled once: no program changes it. */
export const hotRuntime: AssembledProgram = assembleProgram(
  [start, handler('m'), handler('s'), common].join('\n'),
  BigInt(RUNTIME),
);
