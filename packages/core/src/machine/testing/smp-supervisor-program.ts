/**
 * A program in S-mode on several harts that has its SBI do everything harts can do to each other: start, stop and suspend them, interrupt
 * them, and fence their translations and their code. (SBI 2.0, chapters 7 to 9.)
 */

import type { SmpProgram } from './smp-programs.ts';

/** A page that is mapped to one frame and then another, in Sv39; RAM and devices are mapped where they are. */
const VIRTUAL = 0x1_4000_0000;
const FLAGS = 0xcf;

const call = (extension: number, number: number): string => `li a7, ${extension}\n li a6, ${number}\n ecall\n`;
const IPI = 0x735049;
const RFENCE = 0x52464e43;
const HSM = 0x48534d;
const SRST = 0x53525354;

/** a0 of the last call must be this, or a bit is set in `wrong`. */
let checks = 0;
const expectError = (error: number): string => `
        li    t0, ${error}
        beq   a0, t0, 1f
        la    t0, wrong
        li    t1, ${1 << checks++}
        amoor.d zero, t1, (t0)
1:`;

/** Until the doubleword at `label` is at least what is in s9. */
const until = (label: string): string => `
        la    t0, ${label}
1:      ld    t1, 0(t0)
        bgeu  t1, s9, 2f
        pause
        j     1b
2:      fence rw, rw
`;

/** For each other hart, with its number in s2: `body`. */
const eachOther = (harts: number, body: string): string => `
        li    s2, 0
90:     beq   s2, s0, 91f
        ${body}
91:     addi  s2, s2, 1
        li    t0, ${harts}
        bne   s2, t0, 90b
`;

/** Until hart s2 is in `state`. */
const untilState = (state: number): string => `
80:     mv    a0, s2
        ${call(HSM, 2)}
        li    t0, ${state}
        bne   a1, t0, 80b
`;

export function supervisorProgram(harts: number, rounds: number): SmpProgram {
  const others = harts - 1;
  const text = `
        mv    s0, a0             # whoever starts is the first
        la    t0, trap
        csrw  stvec, t0
        la    t0, root
        li    t1, ${FLAGS & ~8}
        sd    t1, 0(t0)
        li    t1, ${(0x8000_0000 / 4096) * 1024 + FLAGS}
        sd    t1, 16(t0)
        la    t2, middle
        srli  t1, t2, 2
        ori   t1, t1, 1
        sd    t1, 40(t0)
        la    t3, leaf
        srli  t1, t3, 2
        ori   t1, t1, 1
        sd    t1, 0(t2)
        la    t2, page0
        srli  t1, t2, 2
        ori   t1, t1, ${FLAGS}
        sd    t1, 0(t3)
        fence rw, rw
        ${eachOther(
          harts,
          `mv a0, s2
        la    a1, secondary
        addi  a2, s2, 100
        ${call(HSM, 0)}${expectError(0)}`,
        )}
        li    s9, ${others}
        ${until('arrived')}
        ${eachOther(
          harts,
          `mv a0, s2
        la    a1, secondary
        ${call(HSM, 0)}${expectError(-6)}`,
        )}
        la    t0, root
        srli  t0, t0, 12
        li    t1, 0x8000000000000000
        or    t0, t0, t1
        csrw  satp, t0
        sfence.vma
        li    t0, 1              # s1: every hart but this one
        sll   t0, t0, s0
        li    s1, ${(1 << harts) - 1}
        xor   s1, s1, t0

        li    s3, 0              # translations
3:      addi  s3, s3, 1
        la    t2, page0
        andi  t0, s3, 1
        slli  t0, t0, 12
        add   t2, t2, t0
        srli  t1, t2, 2
        ori   t1, t1, ${FLAGS}
        la    t3, leaf
        sd    t1, 0(t3)
        li    a2, ${VIRTUAL}
        sfence.vma a2
        mv    a0, s1
        li    a1, 0
        li    a3, 4096
        ${call(RFENCE, 1)}${expectError(0)}
        la    t0, generation
        fence rw, w
        sd    s3, 0(t0)
        li    t0, ${others}
        mul   s9, s3, t0
        ${until('translated')}
        li    t0, ${rounds}
        bne   s3, t0, 3b

        li    s3, 0              # code
4:      addi  s3, s3, 1
        la    t3, code
        slli  t1, s3, 20
        li    t0, 0x513          # addi a0, zero, imm
        or    t0, t0, t1
        sw    t0, 0(t3)
        mv    a0, s1
        li    a1, 0
        ${call(RFENCE, 0)}${expectError(0)}
        la    t0, codeGeneration
        fence rw, w
        sd    s3, 0(t0)
        li    t0, ${others}
        mul   s9, s3, t0
        ${until('executed')}
        li    t0, ${rounds}
        bne   s3, t0, 4b

        li    s3, 0              # interrupts, to one after the other
5:      addi  s3, s3, 1
        li    s4, 0
        ${eachOther(
          harts,
          `addi s4, s4, 1
        li    a0, 1
        mv    a1, s2
        ${call(IPI, 0)}${expectError(0)}
        addi  t0, s3, -1
        li    t1, ${others}
        mul   s9, t0, t1
        add   s9, s9, s4
        ${until('interrupted')}`,
        )}
        li    t0, ${rounds}
        bne   s3, t0, 5b

        ${eachOther(
          harts,
          `${untilState(4)}
        li    a0, 1
        mv    a1, s2
        ${call(IPI, 0)}`,
        )}
        li    s9, ${others}
        ${until('resumed')}
        ${eachOther(
          harts,
          `${untilState(1)}
        mv    a0, s2
        la    a1, again
        ${call(HSM, 0)}${expectError(0)}
        ${untilState(1)}`,
        )}
        li    a0, ${harts}
        ${call(HSM, 2)}${expectError(-3)}
        ${['wrong', 'opaques', 'translated', 'stale', 'executed', 'staleCode', 'interrupted', 'resumed', 'restarted']
          .map((label) => `la a0, ${label}\n ld a0, 0(a0)\n jal print\n`)
          .join('')}
        li    a0, 0
        li    a1, 0
        ${call(SRST, 0)}
        j     .

secondary: mv s0, a0
        la    t0, trap
        csrw  stvec, t0
        la    t0, opaques
        amoadd.d zero, a1, (t0)
        la    t0, root
        srli  t0, t0, 12
        li    t1, 0x8000000000000000
        or    t0, t0, t1
        csrw  satp, t0
        sfence.vma
        li    s8, 1
        la    t0, arrived
        amoadd.d zero, s8, (t0)

        li    s3, 0
        la    s4, generation
        li    s5, ${VIRTUAL}
6:      addi  s3, s3, 1
7:      ld    t1, 0(s5)          # the translation is in use all the time
        ld    t0, 0(s4)
        bltu  t0, s3, 7b
        fence r, rw
        ld    t1, 0(s5)
        andi  t0, s3, 1
        beq   t0, t1, 8f
        la    t0, stale
        amoadd.d zero, s8, (t0)
8:      fence rw, rw
        la    t0, translated
        amoadd.d zero, s8, (t0)
        li    t0, ${rounds}
        bne   s3, t0, 6b

        li    s3, 0
        la    s4, codeGeneration
        la    s5, code
9:      addi  s3, s3, 1
10:     jalr  s5
        ld    t0, 0(s4)
        bltu  t0, s3, 10b
        fence r, rw
        jalr  s5
        beq   a0, s3, 11f
        la    t0, staleCode
        amoadd.d zero, s8, (t0)
11:     fence rw, rw
        la    t0, executed
        amoadd.d zero, s8, (t0)
        li    t0, ${rounds}
        bne   s3, t0, 9b

        li    t0, 2
        csrw  sie, t0
        li    s3, 0
12:     csrr  t0, sip
        andi  t0, t0, 2
        bnez  t0, 13f
        wfi
        j     12b
13:     csrci sip, 2
        addi  s3, s3, 1
        la    t0, interrupted
        amoadd.d zero, s8, (t0)
        li    t0, ${rounds}
        bne   s3, t0, 12b

        li    a0, 0              # a retentive suspend
        ${call(HSM, 3)}
        seqz  t1, a0
        csrw  sie, zero
        csrci sip, 2
        la    t0, resumed
        amoadd.d zero, t1, (t0)
        ${call(HSM, 1)}
        j     .

again:  csrr  t0, satp           # translation is off
        seqz  t1, t0
        la    t0, restarted
        amoadd.d zero, t1, (t0)
        ${call(HSM, 1)}
        j     .

        .align 2
trap:   la    t0, wrong
        csrr  t1, scause
        slli  t1, t1, 56
        amoor.d zero, t1, (t0)
        j     .

print:  li    t0, 0x10000000
        li    t1, 60
14:     srl   t2, a0, t1
        andi  t2, t2, 15
        addi  t3, t2, 48
        li    t4, 10
        bltu  t2, t4, 15f
        addi  t3, t2, 87
15:     sb    t3, 0(t0)
        addi  t1, t1, -4
        bgez  t1, 14b
        li    t3, 10
        sb    t3, 0(t0)
        ret
        .balign 4096
        ${[
          'wrong',
          'arrived',
          'opaques',
          'generation',
          'translated',
          'stale',
          'codeGeneration',
          'executed',
          'staleCode',
          'interrupted',
          'resumed',
          'restarted',
        ]
          .map((label) => `.balign 64\n${label}: .dword 0\n`)
          .join('')}
        .balign 4096
code:   addi  a0, zero, 0
        ret
        .balign 4096
root:   .zero 4096
middle: .zero 4096
leaf:   .zero 4096
page0:  .zero 4096
page1:  .dword 1
        .balign 4096
`;
  // The boot hart's own number is missing in the sum: it is 0 here, and where another one boots the test says so.
  const opaques = Array.from({ length: harts }, (_, hart) => hart + 100).reduce((sum, value) => sum + value, 0) - 100;
  const values = [0, opaques, others * rounds, 0, others * rounds, 0, others * rounds, others, others];
  return {
    name: 'what an SBI does for harts',
    harts,
    text,
    expected: values.map((value) => `${value.toString(16).padStart(16, '0')}\n`).join(''),
  };
}
