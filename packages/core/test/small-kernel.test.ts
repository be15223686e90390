/**
 * A kernel as xv6 is one, in small: started in M-mode, it hands traps and memory down and goes to S-mode, switches Sv39 on, takes UART
 * interrupts through the PLIC and timer interrupts through Sstc, and runs a program in U-mode that asks for everything by `ecall`.
 */

import { expect, test } from 'vitest';
import { TIERS } from '../src/engine/testing/tiers.ts';
import { PacedClock, bareMachine } from '../src/machine/testing/bare-machine.ts';

/** Page table entries: V R W X U A D. */
const KERNEL = 0xcf;
const DEVICES = 0xc7;
const USER = 0xdb;

const PROGRAM = `
      csrr  t0, mstatus
      li    t1, 0x1800
      csrc  mstatus, t1
      li    t1, 0x800
      csrs  mstatus, t1          # MPP = S
      la    t0, supervisor
      csrw  mepc, t0
      csrw  satp, zero
      li    t0, 0xffff
      csrw  medeleg, t0
      csrw  mideleg, t0
      li    t0, 0x3fffffffffffff
      csrw  pmpaddr0, t0
      li    t0, 0xf
      csrw  pmpcfg0, t0
      li    t0, 0x8000000000000000
      csrs  menvcfg, t0          # Sstc
      li    t0, 2
      csrs  mcounteren, t0
      mret

supervisor:
      la    sp, stack_end
      la    t0, trap
      csrw  stvec, t0
      li    s0, 0x10000000       # UART: receive interrupts
      li    t0, 1
      sb    t0, 1(s0)
      li    t1, 0xc000028        # PLIC: source 10 for S-mode of hart 0
      sw    t0, 0(t1)
      li    t1, 0xc002080
      li    t0, 0x400
      sw    t0, 0(t1)
      la    t0, root             # gigapages for the devices and the kernel, a table for the user's page
      li    t1, ${DEVICES}
      sd    t1, 0(t0)
      li    t1, ${(0x8000_0000 / 4096) * 1024 + KERNEL}
      sd    t1, 16(t0)
      la    t2, middle
      srli  t1, t2, 2
      ori   t1, t1, 1
      sd    t1, 40(t0)           # 0x1_4000_0000
      la    t3, leaf
      srli  t1, t3, 2
      ori   t1, t1, 1
      sd    t1, 0(t2)
      la    t2, user
      srli  t1, t2, 2
      ori   t1, t1, ${USER}
      sd    t1, 0(t3)
      srli  t0, t0, 12
      li    t1, 0x8000000000000000
      or    t0, t0, t1
      sfence.vma
      csrw  satp, t0
      sfence.vma
      csrr  t0, time
      li    t1, 1000
      add   t0, t0, t1
      csrw  stimecmp, t0
      li    t0, 0x222
      csrw  sie, t0
      li    t0, 0x100
      csrc  sstatus, t0          # SPP = U
      li    t0, 0x20
      csrs  sstatus, t0          # SPIE
      li    t0, 0x140000000
      csrw  sepc, t0
      csrw  sscratch, sp
      sret

      .balign 4
trap: csrrw sp, sscratch, sp
      sd    t0, -8(sp)
      sd    t1, -16(sp)
      sd    t2, -24(sp)
      csrr  t0, scause
      bltz  t0, interrupt
      addi  t0, t0, -8
      bnez  t0, die
      csrr  t0, sepc             # a call of the user: a7 = 1 print a0, 2 read into a0, 3 end
      addi  t0, t0, 4
      csrw  sepc, t0
      addi  t0, a7, -1
      beqz  t0, print
      addi  t0, a7, -2
      beqz  t0, read
      li    t0, 0x100000         # not mapped apart: the devices' gigapage has it
      li    t1, 0x5555
      sw    t1, 0(t0)
1:    j     1b
print:
      li    t0, 0x10000000
      sb    a0, 0(t0)
      j     back
read: la    t0, received         # 0 until a byte has come
      lbu   a0, 0(t0)
      sb    zero, 0(t0)
back: ld    t0, -8(sp)
      ld    t1, -16(sp)
      ld    t2, -24(sp)
      csrrw sp, sscratch, sp
      sret
interrupt:
      andi  t0, t0, 0xff
      addi  t0, t0, -9
      beqz  t0, external
      csrr  t0, time                  # the timer
      li    t1, 1000
      add   t0, t0, t1
      csrw  stimecmp, t0
      la    t0, ticks
      ld    t1, 0(t0)
      addi  t1, t1, 1
      sd    t1, 0(t0)
      j     back
external:
      li    t1, 0xc201004
      lw    t2, 0(t1)
      li    t0, 0x10000000
      lbu   t0, 0(t0)
      sw    t2, 0(t1)
      la    t1, received
      sb    t0, 0(t1)
      j     back
die:  li    t0, 0x100000
      li    t1, 0x13333
      sw    t1, 0(t0)
2:    j     2b

      .balign 4096
user: la    s0, greeting
1:    lbu   a0, 0(s0)
      beqz  a0, 2f
      li    a7, 1
      ecall
      addi  s0, s0, 1
      j     1b
2:    li    a7, 2
      ecall
      beqz  a0, 2b
      li    t0, 0x2e             # a full stop ends it
      beq   a0, t0, 3f
      addi  a0, a0, -32
      li    a7, 1
      ecall
      j     2b
3:    li    a7, 3
      ecall
greeting: .asciz "small kernel: "
      .balign 4096
root: .zero 4096
middle: .zero 4096
leaf: .zero 4096
      .zero 4096
stack_end:
ticks: .dword 0
received: .dword 0
`;

test.each(TIERS)(
  'a small kernel boots from M-mode, pages, serves interrupts and runs a program in U-mode (%s)',
  async (engine) => {
    const clock = new PacedClock();
    clock.paceNs = 20_000;
    const bare = await bareMachine(PROGRAM, { clock, engine });
    for (let turn = 0; turn < 1000 && !bare.output().endsWith(': '); turn++) bare.machine.run(1);
    for (const [index, letter] of ['x', 'v', '.'].entries()) {
      bare.machine.serial.receive(new TextEncoder().encode(letter));
      for (let turn = 0; turn < 1000 && bare.machine.ending === undefined && bare.output().length < 15 + index; turn++)
        bare.machine.run(1);
    }
    expect(bare.output()).toBe('small kernel: XV');
    expect(bare.machine.ending).toEqual({ kind: 'poweroff' });
    expect(bare.dword('ticks')).toBeGreaterThan(2n);
  },
);
