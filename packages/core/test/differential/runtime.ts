/**
 * The part of every test program that is not random, in our own assembly: it sets registers up, enters the first block, and then is the
 * M-mode trap handler. The handler writes what it sees to the log and has the program go on behind the instruction that trapped.
 *
 * Illegal words of ours ask it for a dump of all registers or for the next round. Instructions that QEMU 7.2 does not know (Zicond, Zicbom,
 * Zicboz, Zawrs) trap there, and the handler does them in its own code without a word in the log: so a program with them gives the same
 * result on a machine that has them, and this code is the model they are compared with.
 *
 * Registers while it runs: sp context; s0 mcause; s1 mepc; s2 mtval; s3 mstatus, to be restored; s4 physical address of the instruction, or 0
 * when it is not in the code; s5 end of the log.
 */

import { hex } from '../../src/base/numbers.ts';
import { type AssembledProgram, assembleProgram } from '../../src/isa/assemble-program.ts';
import {
  CODE,
  CODE_END,
  CONTEXT,
  CONTEXT_CELLS as C,
  DUMP_RECORD,
  DUMP_WORD,
  EXIT_OFFSET,
  LOG_END,
  LOG_MARGIN,
  RECORD_KINDS,
  POWER_OFF,
  ROUND_WORD,
  RUNTIME,
  SCENE_BYTES,
  SCENE_CELLS as S,
  SCENE_EDITS,
  SCENE_PMP_ENTRIES,
  TEST_DEVICE,
  TIMER_COMPARE,
  TRAP_RECORD,
} from './places.ts';

const FS = 0x6000;
const MPP = 0x1800;
const MPRV = 0x2_0000;
const CAUSE = { fetchAccess: 1, illegal: 2, ecallS: 9, fetchPage: 12 } as const;

const header = (kind: number, length: number): number => kind | (length << 8);
const many = (count: number, line: (index: number) => string, first = 0): string =>
  Array.from({ length: count - first }, (_, index) => line(first + index)).join('\n');
const ALL_REGISTERS_BUT_SP = [1, ...Array.from({ length: 29 }, (_, index) => index + 3)];

const start = `
        la    t0, handler
        csrw  mtvec, t0
        li    sp, ${CONTEXT}
        csrw  mscratch, sp
        li    t0, ${FS | MPP}
        csrs  mstatus, t0
        li    t0, -1
        srli  t0, t0, 10
        csrw  pmpaddr0, t0
        li    t0, 0x1f
        csrw  pmpcfg0, t0
        li    t0, 7
        csrw  mcounteren, t0
        csrw  fcsr, x0
        # The timer is quiet: QEMU's starts with an interrupt pending.
        li    t0, ${TIMER_COMPARE}
        li    t1, -1
        sd    t1, (t0)
        ${many(32, (n) => `fld f${n}, ${C.initialF + 8 * n}(sp)`)}
        ld    t0, ${C.hasScenes}(sp)
        bnez  t0, nextScene
        ld    t0, ${C.entry}(sp)
        csrw  mepc, t0
        ${ALL_REGISTERS_BUT_SP.map((n) => `ld x${n}, ${C.initialX + 8 * n}(sp)`).join('\n')}
        ld    sp, ${C.initialX + 16}(sp)
        mret
`;

const entry = `
        .balign 4
handler:
        csrrw sp, mscratch, sp
        ${ALL_REGISTERS_BUT_SP.map((n) => `sd x${n}, ${C.x + 8 * n}(sp)`).join('\n')}
        csrr  t0, mscratch
        sd    t0, ${C.x + 16}(sp)
        csrw  mscratch, sp
        csrr  s0, mcause
        csrr  s1, mepc
        csrr  s2, mtval
        csrr  s3, mstatus
        li    t0, ${FS}
        csrs  mstatus, t0
        # No reservation outlives a trap (A extension: handlers clear it by a dummy sc).
        addi  t0, sp, ${C.dummy}
        sc.w  x0, x0, (t0)
        ld    s5, ${C.logPointer}(sp)
        li    t0, ${LOG_END - LOG_MARGIN}
        bgeu  s5, t0, end
        mv    a0, s1
        call  physical
        mv    s4, a0
        bltz  s0, interrupt
        li    t0, ${CAUSE.illegal}
        beq   s0, t0, illegal

exception:
        ld    t0, ${C.hasScenes}(sp)
        bnez  t0, sceneException
        call  logTrap
        # A jump to nowhere has linked in x1.
        li    t0, ${CAUSE.fetchAccess}
        beq   s0, t0, toLink
        beqz  s4, end
        j     skip
toLink: ld    s1, ${C.x + 8}(sp)
        j     resume

        # Goes on behind the instruction.
skip:   mv    a0, s4
        call  length
        add   s1, s1, a0
resume: csrw  mepc, s1
        csrw  mstatus, s3
        sd    s5, ${C.logPointer}(sp)
        ${ALL_REGISTERS_BUT_SP.map((n) => `ld x${n}, ${C.x + 8 * n}(sp)`).join('\n')}
        ld    sp, ${C.x + 16}(sp)
        mret

end:    li    t0, ${header(RECORD_KINDS.ended, 1)}
        sd    t0, (s5)
        li    t0, ${TEST_DEVICE}
        li    t1, ${POWER_OFF}
        sw    t1, (t0)
1:      j     1b

        # a0: virtual address -> physical one in the code, or 0
physical:
        ld    t0, ${C.delta}(sp)
        sub   a0, a0, t0
        li    t0, ${CODE}
        bltu  a0, t0, 1f
        li    t0, ${CODE_END}
        bgeu  a0, t0, 1f
        ret
1:      li    a0, 0
        ret

        # a0: physical address of an instruction -> its length
length: lhu   t0, (a0)
        andi  t0, t0, 3
        addi  t0, t0, -3
        seqz  t0, t0
        slli  t0, t0, 1
        addi  a0, t0, 2
        ret

logTrap:
        li    t0, ${header(RECORD_KINDS.trap, TRAP_RECORD)}
        sd    t0, (s5)
        sd    s0, 8(s5)
        sd    s1, 16(s5)
        sd    s2, 24(s5)
        sd    s3, 32(s5)
        addi  s5, s5, ${8 * TRAP_RECORD}
        ret

dump:   li    t0, ${header(RECORD_KINDS.dump, DUMP_RECORD)}
        sd    t0, (s5)
        sd    s1, 8(s5)
        ${many(32, (n) => `ld t0, ${C.x + 8 * n}(sp)\nsd t0, ${8 + 8 * n}(s5)`, 1)}
        addi  s5, s5, 264
        ${many(32, (n) => `fsd f${n}, ${8 * n}(s5)`)}
        csrr  t0, fcsr
        sd    t0, 256(s5)
        csrr  t0, mip
        sd    t0, 264(s5)
        addi  s5, s5, ${8 * DUMP_RECORD - 264}
        ret

interrupt:
        call  logTrap
        li    t0, 1
        sll   t0, t0, s0
        csrc  mip, t0
        csrc  mie, t0
        j     resume
`;

const illegal = `
illegal:
        beqz  s4, exception
        lhu   s6, (s4)
        andi  t0, s6, 3
        addi  t0, t0, -3
        bnez  t0, exception
        lhu   t0, 2(s4)
        slli  t0, t0, 16
        or    s6, s6, t0
        li    t0, ${hex(DUMP_WORD)}
        beq   s6, t0, wantsDump
        li    t0, ${hex(ROUND_WORD)}
        beq   s6, t0, wantsRound
        li    t0, 0xfe00707f
        and   t0, s6, t0
        li    t1, 0x0e005033
        beq   t0, t1, czeroEqz
        li    t1, 0x0e007033
        beq   t0, t1, czeroNez
        li    t0, 0x7fff
        and   t0, s6, t0
        li    t1, 0x200f
        beq   t0, t1, cacheBlock
        li    t0, 0x00d00073
        beq   s6, t0, skip
        li    t0, 0x01d00073
        beq   s6, t0, skip
        j     exception

wantsDump:
        call  dump
        # Blocks end in M-mode, whatever they have dropped to.
        li    t0, ${MPP}
        or    s3, s3, t0
        j     skip
wantsRound:
        ld    t0, ${C.rounds}(sp)
        addi  t0, t0, -1
        sd    t0, ${C.rounds}(sp)
        beqz  t0, end
        ld    s1, ${C.entry}(sp)
        li    t0, ${MPP}
        or    s3, s3, t0
        j     resume

        # Zicond: a0 is rs1's value, a1 rs2's; the result goes to rd.
czeroEqz:
        call  operands
        bnez  a1, 1f
        li    a0, 0
1:      j     result
czeroNez:
        call  operands
        beqz  a1, result
        li    a0, 0
result: srli  t0, s6, 4
        andi  t0, t0, 0xf8
        beqz  t0, skip
        add   t0, t0, sp
        sd    a0, (t0)
        j     skip
operands:
        srli  t0, s6, 12
        andi  t0, t0, 0xf8
        add   t0, t0, sp
        ld    a0, (t0)
        srli  t0, s6, 17
        andi  t0, t0, 0xf8
        add   t0, t0, sp
        ld    a1, (t0)
        ret

        # Zicbom changes nothing that can be seen; Zicboz stores zeros.
cacheBlock:
        srli  t0, s6, 20
        li    t1, 4
        bgtu  t0, t1, exception
        addi  t1, t0, -3
        beqz  t1, exception
        li    t1, 4
        bne   t0, t1, skip
        call  operands
        andi  a0, a0, -64
        ${many(8, (n) => `sd x0, ${8 * n}(a0)`)}
        j     skip
`;

const scenes = `
sceneException:
        li    t0, ${CAUSE.ecallS}
        bne   s0, t0, 1f
        ld    t0, ${C.supervisorHandler}(sp)
        beq   s1, t0, supervisorTrap
1:      call  logTrap
        # A fence that TVM forbade is made up for here. And QEMU 7.2 forgets that mret changes MPP, which counts under MPRV.
        li    t0, ${MPRV}
        and   t0, t0, s3
        bnez  t0, 2f
        li    t0, ${CAUSE.illegal}
        bne   s0, t0, 1f
2:      sfence.vma
1:      ld    t0, ${C.supervisorReturn}(sp)
        beq   s1, t0, leaveScene
        mv    a0, s1
        call  behind
        beqz  a0, leaveScene
        mv    s1, a0
        j     resume

        # a0: where an instruction trapped, s0: why -> where to go on, or 0 to leave the scene. s4: its physical address
behind: li    t0, ${CAUSE.fetchAccess}
        beq   s0, t0, 1f
        li    t0, ${CAUSE.fetchPage}
        beq   s0, t0, 1f
        beqz  s4, 2f
        slli  t0, a0, 52
        srli  t0, t0, 52
        li    t1, ${EXIT_OFFSET}
        beq   t0, t1, 2f
        mv    s7, ra
        mv    s8, a0
        mv    a0, s4
        call  length
        add   a0, a0, s8
        mv    ra, s7
        ret
        # In the code it was no jump through x1.
1:      bnez  s4, 2f
        ld    a0, ${C.x + 8}(sp)
        mv    s7, ra
        mv    s8, a0
        call  physical
        mv    ra, s7
        beqz  a0, 3f
        mv    a0, s8
        ret
2:      li    a0, 0
3:      ret

        # The S-mode handler is an ecall and an sret: what it would do is done here.
supervisorTrap:
        csrr  s0, scause
        csrr  s9, sepc
        csrr  t2, stval
        # Where they may hold one thing or another (known-differences.ts), nothing is to follow from it.
        csrw  scause, x0
        csrw  stval, x0
        li    t0, ${header(RECORD_KINDS.supervisorTrap, TRAP_RECORD)}
        sd    t0, (s5)
        sd    s0, 8(s5)
        sd    s9, 16(s5)
        sd    t2, 24(s5)
        sd    s3, 32(s5)
        addi  s5, s5, ${8 * TRAP_RECORD}
        bltz  s0, 2f
        li    t0, ${CAUSE.illegal}
        bne   s0, t0, 1f
        sfence.vma
        # The sret itself is forbidden (TSR).
1:      ld    t0, ${C.supervisorReturn}(sp)
        beq   s9, t0, leaveScene
        mv    a0, s9
        call  physical
        mv    s4, a0
        mv    a0, s9
        call  behind
        beqz  a0, leaveScene
        csrw  sepc, a0
        ld    s1, ${C.supervisorReturn}(sp)
        j     resume
2:      li    t0, 1
        sll   t0, t0, s0
        csrc  mip, t0
        csrc  mie, t0
        ld    s1, ${C.supervisorReturn}(sp)
        j     resume

leaveScene:
        call  dump
        sd    s5, ${C.logPointer}(sp)
        j     nextScene

nextScene:
        csrw  mideleg, x0
        csrw  mie, x0
        csrw  mip, x0
        ld    s5, ${C.logPointer}(sp)
        li    t0, ${LOG_END - LOG_MARGIN}
        bgeu  s5, t0, end
        ld    t0, ${C.scenesLeft}(sp)
        beqz  t0, end
        addi  t0, t0, -1
        sd    t0, ${C.scenesLeft}(sp)
        ld    s0, ${C.scene}(sp)
        addi  t1, s0, ${SCENE_BYTES}
        sd    t1, ${C.scene}(sp)
        ld    t0, ${S.entry}(s0)
        # A scene without entry was taken out.
        beqz  t0, nextScene
        csrw  mepc, t0
        li    t1, ${header(RECORD_KINDS.scene, 2)}
        sd    t1, (s5)
        sd    s0, 8(s5)
        addi  s5, s5, 16
        sd    s5, ${C.logPointer}(sp)
        ld    t0, ${S.delta}(s0)
        sd    t0, ${C.delta}(sp)
        ld    t0, ${S.supervisorHandler}(s0)
        sd    t0, ${C.supervisorHandler}(sp)
        csrw  stvec, t0
        ld    t0, ${S.supervisorReturn}(s0)
        sd    t0, ${C.supervisorReturn}(sp)
        ${many(SCENE_EDITS, (n) => `ld t0, ${S.edits + 16 * n}(s0)\nld t1, ${S.edits + 16 * n + 8}(s0)\nbeqz t0, 1f\nsd t1, (t0)\n1:`)}
        ld    t0, ${S.satp}(s0)
        csrw  satp, t0
        ${many(SCENE_PMP_ENTRIES, (n) => `ld t0, ${S.pmpaddr + 8 * n}(s0)\ncsrw pmpaddr${n}, t0`)}
        ld    t0, ${S.pmpcfg}(s0)
        csrw  pmpcfg0, t0
        ld    t0, ${S.menvcfg}(s0)
        csrw  menvcfg, t0
        ld    t0, ${S.counters}(s0)
        csrw  mcounteren, t0
        srli  t0, t0, 32
        csrw  scounteren, t0
        ld    a0, ${S.fenceAddress}(s0)
        ld    a1, ${S.fenceSpace}(s0)
        ld    t0, ${S.fence}(s0)
        beqz  t0, 5f
        addi  t0, t0, -1
        bnez  t0, 2f
        sfence.vma x0, x0
2:      addi  t0, t0, -1
        bnez  t0, 3f
        sfence.vma a0, x0
3:      addi  t0, t0, -1
        bnez  t0, 4f
        sfence.vma x0, a1
4:      addi  t0, t0, -1
        bnez  t0, 5f
        sfence.vma a0, a1
5:      ld    t0, ${S.medeleg}(s0)
        csrw  medeleg, t0
        ld    t0, ${S.mideleg}(s0)
        csrw  mideleg, t0
        ld    t0, ${S.mie}(s0)
        csrw  mie, t0
        ld    t0, ${S.mip}(s0)
        csrw  mip, t0
        li    t0, 0x7e79aa
        csrc  mstatus, t0
        ld    t0, ${S.status}(s0)
        csrs  mstatus, t0
        ${ALL_REGISTERS_BUT_SP.map((n) => `ld x${n}, ${C.x + 8 * n}(sp)`).join('\n')}
        ld    sp, ${C.x + 16}(sp)
        mret
`;

/** Assembled once: no program changes it. */
export const runtime: AssembledProgram = assembleProgram([start, entry, illegal, scenes].join('\n'), BigInt(RUNTIME));
