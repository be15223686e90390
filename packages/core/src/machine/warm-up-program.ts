/**
 * What a machine executes to be warmed up: as a kernel does it, with page tables of its own, a timer, and a process that writes to each of its pages and asks for
 * something then, whereupon its translations are forgotten and it waits for the timer (Privileged ISA; RV64GC, at 0x80000000, in M-mode at first):
 *
 *     start:
 *       li    t0, -1
 *       csrw  medeleg, t0
 *       csrw  mideleg, t0
 *       csrw  mcounteren, t0
 *       csrw  scounteren, t0
 *       srli  t1, t0, 10
 *       csrw  pmpaddr0, t1
 *       li    t1, 0x1f
 *       csrw  pmpcfg0, t1
 *       li    t1, 5             # STCE, ADUE
 *       slli  t1, t1, 61
 *       csrw  0x30a, t1
 *       li    t1, 0x800         # MPP: S
 *       csrw  mstatus, t1
 *       lla   t1, supervisor
 *       csrw  mepc, t1
 *       lla   s0, start
 *       mret
 *     supervisor:
 *       lui   s1, 2
 *       add   s1, s1, s0       # root table
 *       lui   t0, 1
 *       add   s2, s1, t0       # level 1
 *       add   s3, s2, t0       # level 0
 *       srli  t1, s0, 2
 *       ori   t1, t1, 0xcf     # gigapage: V R W X A D
 *       sd    t1, 16(s1)
 *       srli  t1, s2, 2
 *       ori   t1, t1, 1
 *       sd    t1, 0(s1)        # root[0] -> level 1
 *       srli  t1, s3, 2
 *       ori   t1, t1, 1
 *       sd    t1, 0(s2)
 *       srli  t1, s0, 2
 *       ori   t1, t1, 0xdf     # user: page 0 of level 0 is the program
 *       sd    t1, 0(s3)
 *       add   t2, s3, t0
 *       srli  t2, t2, 2
 *       ori   t2, t2, 0xd7     # user pages behind it
 *       li    t3, 1
 *       li    t4, 64
 *     1: slli t5, t3, 3
 *       add   t5, t5, s3
 *       sd    t2, 0(t5)
 *       addi  t2, t2, 0x400
 *       addi  t3, t3, 1
 *       bne   t3, t4, 1b
 *       li    t1, 8
 *       slli  t1, t1, 60
 *       srli  t2, s1, 12
 *       or    t1, t1, t2
 *       csrw  satp, t1
 *       sfence.vma
 *       lla   t1, trap
 *       csrw  stvec, t1
 *       li    t1, 0x20
 *       csrw  sie, t1
 *       lla   t1, user
 *       sub   t1, t1, s0
 *       csrw  sepc, t1
 *       li    t1, 0x40000      # SUM
 *       csrs  sstatus, t1
 *       j     arm
 *     user:                    # writes to each of its pages, and asks
 *       li    a0, 1
 *       li    a1, 64
 *     2: slli a2, a0, 12
 *       ld    a3, 8(a2)
 *       addi  a3, a3, 1
 *       sd    a3, 8(a2)
 *       lw    a4, 16(a2)
 *       mul   a4, a4, a3
 *       sw    a4, 16(a2)
 *       amoadd.d a5, a3, (a2)
 *       addi  a0, a0, 1
 *       bne   a0, a1, 2b
 *       ecall
 *       j     user
 *     trap:
 *       csrr  t0, scause
 *       bltz  t0, arm
 *       csrr  t1, sepc         # a call: forgets the translations every time
 *       addi  t1, t1, 4
 *       csrw  sepc, t1
 *       sfence.vma
 *       li    t0, 0x20
 *       csrs  sie, t0
 *       wfi
 *       sret
 *     arm:                     # the next one in 20 us
 *       rdtime t0
 *       addi  t0, t0, 200
 *       csrw  0x14d, t0
 *       sret
 */

/** Its own page, one that is free, three of page tables, and those of the process. */
export const WARM_UP_PAGES = 68;

export const WARM_UP_PROGRAM = Uint32Array.of(
  0x9073_52fd,
  0x9073_3022,
  0x9073_3032,
  0x9073_3062,
  0xd313_1062,
  0x1073_00a2,
  0x437d_3b03,
  0x3a03_1073,
  0x1376_4315,
  0x30a3_1073,
  0x031b_6305,
  0x1073_8003,
  0x0317_3003,
  0x0313_0000,
  0x1073_0183,
  0x0417_3413,
  0x0413_0000,
  0x0073_fc24,
  0x6489_3020,
  0x6285_94a2,
  0x0054_8933,
  0x0059_09b3,
  0x0024_5313,
  0x0cf3_6313,
  0x0064_b823,
  0x0029_5313,
  0x0013_6313,
  0x0064_b023,
  0x0029_d313,
  0x0013_6313,
  0x0069_3023,
  0x0024_5313,
  0x0df3_6313,
  0x0069_b023,
  0x0059_83b3,
  0x0023_d393,
  0x0d73_e393,
  0x0e93_4e05,
  0x1f13_0400,
  0x9f4e_003e,
  0x007f_3023,
  0x4003_8393,
  0x18e3_0e05,
  0x4321_ffde,
  0xd393_1372,
  0x6333_00c4,
  0x1073_0073,
  0x0073_1803,
  0x0317_1200,
  0x0313_0000,
  0x1073_0563,
  0x0313_1053,
  0x1073_0200,
  0x0317_1043,
  0x0313_0000,
  0x0333_01a3,
  0x1073_4083,
  0x0337_1413,
  0x2073_0004,
  0xa881_1003,
  0x0593_4505,
  0x1613_0400,
  0x6614_00c5,
  0xe614_0685,
  0x0733_4a18,
  0xca18_02d7,
  0x00d6_37af,
  0x14e3_0505,
  0x0073_feb5,
  0xbfe9_0000,
  0x1420_22f3,
  0x0202_c163,
  0x1410_2373,
  0x1073_0311,
  0x0073_1413,
  0x0293_1200,
  0xa073_0200,
  0x0073_1042,
  0x0073_1050,
  0x22f3_1020,
  0x8293_c010,
  0x9073_0c82,
  0x0073_14d2,
  0x0000_1020,
);
