/**
 * Bare programs for several harts, which print what came of it and switch the machine off: what they print is the same on every
 * machine that keeps RVWMO and the memory map of QEMU's `virt`, however its harts take turns.
 */

export interface SmpProgram {
  readonly name: string;
  readonly harts: number;
  readonly text: string;
  /** What it prints. */
  readonly expected: string;
  /** Where QEMU does not: the reason. */
  readonly notOnQemu?: string;
}

const hex = (...values: readonly (number | bigint)[]): string =>
  values.map((value) => `${BigInt(value).toString(16).padStart(16, '0')}\n`).join('');

/** Every hart comes here; `main` is what each does, with its number in s0. Hart 0 goes on at `finish` when all have come to `arrive`. */
const program = (harts: number, main: string, finish: string, data: string): string => `
        csrr  s0, mhartid
        la    t0, stacks
        addi  t1, s0, 1
        slli  t1, t1, 10
        add   sp, t0, t1
        ${main}
arrive: fence rw, rw
        la    t0, arrived
        li    t1, 1
        amoadd.d zero, t1, (t0)
        bnez  s0, park
1:      ld    t1, 0(t0)
        li    t2, ${harts}
        beq   t1, t2, 2f
        pause
        j     1b
2:      fence rw, rw
        ${finish}
        li    t0, 0x100000
        li    t1, 0x5555
        sw    t1, 0(t0)
park:   csrw  mie, zero
3:      wfi
        j     3b
print:  li    t0, 0x10000000     # a0 as 16 hexadecimal digits
        li    t1, 60
4:      srl   t2, a0, t1
        andi  t2, t2, 15
        addi  t3, t2, 48
        li    t4, 10
        bltu  t2, t4, 5f
        addi  t3, t2, 87
5:      sb    t3, 0(t0)
        addi  t1, t1, -4
        bgez  t1, 4b
        li    t3, 10
        sb    t3, 0(t0)
        ret
        .balign 4096             # not in a page with code: compiled code does these accesses itself
arrived: .dword 0
        .balign 64
        ${data}
        .balign 1024
stacks: .zero ${harts * 1024}
`;

const printed = (...labels: readonly string[]): string =>
  labels.map((label) => `la a0, ${label}\n ld a0, 0(a0)\n jal print\n`).join('');

const cells = (...labels: readonly string[]): string =>
  labels.map((label) => `.balign 64\n${label}: .dword 0\n`).join('');

/** AMOs, LR/SC and locks on the same cells from every hart: nothing is lost. */
export function counters(harts: number, rounds: number): SmpProgram {
  const all = harts * rounds;
  const main = `
        li    s1, ${rounds}
        la    s2, sum
        la    s3, reserved
        la    s4, lock
        la    s5, guarded
        la    s6, ticket
1:      li    t0, 1
        amoadd.d zero, t0, (s2)
        amoadd.w zero, t0, (s2)
        slli  t1, s1, 3
        or    t1, t1, s0
        la    t2, most
        amomaxu.d zero, t1, (t2)
        la    t2, mixed
        amoxor.d zero, t1, (t2)
2:      lr.d  t1, (s3)
        addi  t1, t1, 1
        sc.d  t2, t1, (s3)
        bnez  t2, 2b
        addi  t3, s3, 8
3:      lr.w.aq t1, (t3)
        addiw t1, t1, 3
        sc.w.rl t2, t1, (t3)
        bnez  t2, 3b
4:      li    t0, 1              # a lock that says that it waits
        amoswap.w.aq t0, t0, (s4)
        beqz  t0, 5f
        pause
        j     4b
5:      ld    t1, 0(s5)
        addi  t1, t1, 1
        sd    t1, 0(s5)
        lw    t2, 8(s5)
        addiw t2, t2, 5
        sw    t2, 8(s5)
        amoswap.w.rl zero, zero, (s4)
        li    t0, 1              # a lock with tickets, whose waiters say nothing: whoever is next must get its turn
        amoadd.w t1, t0, (s6)
6:      lw    t2, 4(s6)
        bne   t1, t2, 6b
        fence r, rw
        ld    t3, 8(s6)
        addi  t3, t3, 7
        sd    t3, 8(s6)
        fence rw, w
        addiw t2, t2, 1
        sw    t2, 4(s6)
        addi  s1, s1, -1
        bnez  s1, 1b`;
  let mixed = 0n;
  for (let round = 1; round <= rounds; round++)
    for (let hart = 0; hart < harts; hart++) mixed ^= BigInt((round << 3) | hart);
  const finish = printed('sum', 'most', 'mixed', 'reserved', 'reserved3', 'guarded', 'guarded5', 'served');
  return {
    name: 'counters',
    harts,
    text: program(
      harts,
      main,
      finish,
      `${cells('sum', 'most', 'mixed', 'lock')}
       .balign 64
       reserved: .dword 0
       reserved3: .dword 0
       .balign 64
       guarded: .dword 0
       guarded5: .dword 0
       .balign 64
       ticket: .dword 0
       served: .dword 0`,
    ),
    expected: hex(2 * all, (rounds << 3) | (harts - 1), mixed, all, 3 * all, all, 5 * all, 7 * all),
  };
}

/**
 * Hart 0 to hart 1: a value, then a flag. Whoever sees the flag sees the value: with fences, with release and acquire, and where the address of
 * the second load comes from the first (RVWMO's syntactic dependencies).
 */
export function messagePassing(rounds: number): SmpProgram {
  const producer = `
        li    s1, ${rounds}
        li    s2, 0
1:      addi  s2, s2, 1
        sd    s2, 0(s3)
        sd    s2, 8(s3)
        fence w, w
        sd    s2, 0(s4)          # plain flag behind a fence
        sd    s2, 16(s3)
        amoswap.d.rl zero, s2, (s5)
2:      ld    t0, 0(s6)          # until hart 1 has seen both
        beq   t0, s2, 3f
        pause
        j     2b
3:      fence r, rw
        bne   s1, s2, 1b
        j     arrive`;
  const consumer = `
        li    s1, ${rounds}
        li    s2, 0
        li    s7, 0
4:      addi  s2, s2, 1
5:      ld    t0, 0(s4)
        bne   t0, s2, 5b
        xor   t1, t0, t0         # nothing but a dependency
        add   t1, t1, s3
        ld    t2, 0(t1)
        beq   t2, s2, 6f
        addi  s7, s7, 1
6:      fence r, r
        ld    t2, 8(s3)
        beq   t2, s2, 7f
        addi  s7, s7, 1
7:      lr.d.aq t0, (s5)
        bne   t0, s2, 7b
        ld    t2, 16(s3)
        beq   t2, s2, 8f
        addi  s7, s7, 1
8:      fence rw, w
        sd    s2, 0(s6)
        bne   s1, s2, 4b
        la    t0, wrong
        sd    s7, 0(t0)
        la    t0, seen
        sd    s2, 0(t0)`;
  return {
    name: 'message passing',
    harts: 2,
    text: program(
      2,
      `la s3, value
        la    s4, flag
        la    s5, released
        la    s6, answer
        beqz  s0, produce
        ${consumer}
        j     arrive
produce: ${producer}`,
      printed('seen', 'wrong'),
      `.balign 64
       value: .zero 24
       ${cells('flag', 'released', 'answer', 'wrong', 'seen')}`,
    ),
    expected: hex(rounds, 0),
  };
}

/** Each of two harts stores to its own cell and loads the other's: with fences between at least one sees the other's store. */
export function storeBuffer(rounds: number): SmpProgram {
  const main = `
        la    s3, cellA
        la    s4, cellB
        la    s5, sawA
        la    s6, sawB
        beqz  s0, 1f
        mv    t0, s3
        mv    s3, s4
        mv    s4, t0
        mv    t0, s5
        mv    s5, s6
        mv    s6, t0
1:      la    s7, turns
        li    s1, ${rounds}
        li    s2, 0
        li    s8, 0
2:      addi  s2, s2, 1
        slli  s9, s2, 1          # both of this round have come: twice the number
        li    t0, 1
        amoadd.d zero, t0, (s7)
3:      ld    t0, 0(s7)
        bltu  t0, s9, 3b
        sd    s2, 0(s3)
        fence rw, rw
        ld    t1, 0(s4)
        sd    t1, 0(s5)
        fence rw, rw
        addi  t2, s7, 64
        li    t0, 1
        amoadd.d zero, t0, (t2)
4:      ld    t0, 0(t2)
        bltu  t0, s9, 4b
        fence rw, rw
        ld    t1, 0(s5)
        ld    t3, 0(s6)
        beq   t1, s2, 5f
        beq   t3, s2, 5f
        addi  s8, s8, 1
5:      addi  t2, s7, 128
        li    t0, 1
        amoadd.d zero, t0, (t2)
6:      ld    t0, 0(t2)
        bltu  t0, s9, 6b
        bne   s1, s2, 2b
        la    t0, wrong
        amoadd.d zero, s8, (t0)`;
  return {
    name: 'store buffer',
    harts: 2,
    text: program(
      2,
      main,
      printed('wrong', 'turns'),
      cells('cellA', 'cellB', 'sawA', 'sawB', 'wrong', 'turns', 'turns2', 'turns3'),
    ),
    expected: hex(0, 2 * rounds),
  };
}

/** Machine software interrupts in a ring: each hart waits in WFI for its own and sends the next one its. */
export function interrupts(harts: number, rounds: number): SmpProgram {
  const main = `
        la    t0, trap
        csrw  mtvec, t0
        li    t0, 8
        csrw  mie, t0
        li    s1, 0              # interrupts taken
        li    s2, ${rounds}
        li    s3, 0x2000000      # msip
        slli  t0, s0, 2
        add   s4, s3, t0         # own
        addi  t0, s0, 1
        li    t1, ${harts}
        bne   t0, t1, 1f
        li    t0, 0
1:      slli  t0, t0, 2
        add   s5, s3, t0         # the next hart's
        csrsi mstatus, 8
        bnez  s0, 2f
        li    t0, 1
        sw    t0, 0(s5)
2:      bgeu  s1, s2, 3f
        wfi
        j     2b
        .balign 4
trap:   sw    zero, 0(s4)
        fence
        addi  s1, s1, 1
        la    t3, taken
        li    t4, 1
        amoadd.d zero, t4, (t3)
        bltu  s1, s2, 4f
        beqz  s0, 5f             # hart 0 takes the last one
4:      sw    t4, 0(s5)
5:      mret
3:      csrci mstatus, 8`;
  return {
    name: 'interrupts',
    harts,
    text: program(harts, main, printed('taken'), cells('taken')),
    expected: hex(harts * rounds),
  };
}

/** Hart 0 writes code that the others have executed many times, and tells them: they fence and execute the new. */
export function changedCode(harts: number, rounds: number): SmpProgram {
  const main = `
        li    s1, ${rounds}
        li    s2, 0
        li    s7, 0
        la    s3, code
        la    s4, version
        la    s5, ready
        beqz  s0, writer
1:      addi  s2, s2, 1
2:      ld    t0, 0(s4)
        bgeu  t0, s2, 3f
        li    t3, 20             # what was written before, until there is something new
6:      jalr  s3
        addi  t3, t3, -1
        bnez  t3, 6b
        j     2b
3:      fence r, rw
        fence.i
        jalr  s3
        andi  t1, s2, 0x3ff
        beq   a0, t1, 4f
        addi  s7, s7, 1
4:      fence rw, rw
        li    t0, 1
        amoadd.d zero, t0, (s5)
        bne   s1, s2, 1b
        la    t0, wrong
        amoadd.d zero, s7, (t0)
        j     arrive
writer: addi  s2, s2, 1
        andi  t1, s2, 0x3ff
        slli  t1, t1, 20
        li    t0, 0x513          # addi a0, zero, imm
        or    t0, t0, t1
        sw    t0, 0(s3)
        fence rw, w
        sd    s2, 0(s4)
        li    t2, ${harts - 1}
        mul   t2, t2, s2
5:      ld    t0, 0(s5)
        beq   t0, t2, 7f
        pause
        j     5b
7:      fence r, rw
        bne   s1, s2, writer
        j     arrive`;
  return {
    name: 'changed code',
    harts,
    text: program(
      harts,
      main,
      printed('wrong', 'ready'),
      `${cells('wrong', 'version', 'ready')}
       .balign 4096
       code: addi a0, zero, 0
        jr    ra
       .balign 4096`,
    ),
    expected: hex(0, (harts - 1) * rounds),
    notOnQemu: 'QEMU 7.2 executes the old code about once in a hundred rounds',
  };
}
