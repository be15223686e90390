/**
 * A whole random program for M-mode: several passes over a random body, each from other register values, then everything that can be
 * seen goes out of the UART as bytes. The same file runs on every machine of the `virt` kind.
 *
 *     0x8000_0000   frame: set-up, passes, trap handler, output      0x8020_0000   scratch memory
 *     0x8001_0000   the body                                         0x8020_4000   state at the end of each pass
 *     0x8010_0000   values                                           0x8020_8000   trap log: mcause, mepc, mtval
 *     0x8030_0000   page tables
 *
 * A third of the programs runs its body in M-mode, a third in S-mode and a third in U-mode, these under Sv39 with everything where it is,
 * but scratch memory's pages exchanged and with other permissions in each pass.
 */

import { Random } from '../../../src/engine/float/testing/vectors.ts';
import { assembleProgram } from '../../../src/isa/assemble-program.ts';
import { buildElf } from '../../../src/machine/loader/testing/payloads.ts';
import { Body, type Mode, SCRATCH_BYTES } from './body.ts';
import { floatValue, integerValue } from './register-values.ts';

export const PASSES = 10;
export const ITEMS = 4000;
const FRAME = 0x8000_0000;
export const BODY = 0x8001_0000;
const VALUES = 0x8010_0000;
const SCRATCH = 0x8020_0000;
/** x1 to x28 as they are at the end of a pass (x29 and x30 are the handler's), f0 to f31, fcsr. */
export const STATE_NAMES: readonly string[] = [
  ...Array.from({ length: 28 }, (_, index) => `x${index + 1}`),
  ...Array.from({ length: 32 }, (_, index) => `f${index}`),
  'fcsr',
  ...Array.from({ length: SCRATCH_BYTES / 4096 }, (_, index) => `PTE ${index} of scratch memory`),
];
/** What the output takes for each byte, beside the body's. */
export const OUTPUT_INSTRUCTIONS_PER_BYTE = 7;
const STATE_BYTES = STATE_NAMES.length * 8;
export const SCRATCH_SIZE = SCRATCH_BYTES;
const STATES = SCRATCH + SCRATCH_BYTES;
export const LOG_OFFSET = SCRATCH_BYTES + 0x4000;
const LOG = SCRATCH + LOG_OFFSET;
export const TRAP_BYTES = 24;
/** A program that traps more often ends early. */
const MAX_LOG_BYTES = 0x3_0000;
const TABLES = 0x8030_0000;
const SCRATCH_PAGES = SCRATCH_BYTES / 4096;
const POOL_ENTRIES = 256;

export interface Program {
  readonly elf: Uint8Array;
  readonly starts: readonly number[];
  readonly halves: readonly number[];
}

/** The program of a seed; with `end` only the first items of its body are there. */
export function randomProgram(seed: number, items = ITEMS, end = items): Program {
  const random = new Random(seed);
  const pool = VALUES + PASSES * 64 * 8;
  const values = new BigUint64Array(PASSES * 64 + POOL_ENTRIES);
  for (const index of values.keys()) values[index] = index % 64 < 32 ? integerValue(random) : floatValue(random);
  // A first store to untouched memory may make a store-conditional fail: scratch memory is filled.
  const scratch = BigUint64Array.from({ length: SCRATCH_BYTES / 8 }, () =>
    random.below(2) === 0 ? integerValue(random) : floatValue(random),
  );
  const mode = random.pick<Mode>(['M', 'S', 'U']);
  const { halves, starts } = new Body(random, {
    body: BODY,
    scratch: SCRATCH,
    pool,
    poolEntries: POOL_ENTRIES,
    mode,
  }).generate(items, end);
  const finish = starts.at(-1) ?? BODY;
  const frame = assembleProgram(frameText(finish, mode), BigInt(FRAME));
  const tail = assembleProgram('ecall', BigInt(finish)).bytes;
  const body = new Uint8Array(halves.length * 2 + tail.length);
  body.set(new Uint8Array(Uint16Array.from(halves).buffer));
  body.set(tail, halves.length * 2);
  const elf = buildElf({
    segments: [
      { physical: FRAME, content: frame.bytes },
      { physical: BODY, content: body },
      { physical: VALUES, content: new Uint8Array(values.buffer) },
      { physical: TABLES, content: new Uint8Array(pageTables(mode, random).buffer) },
      { physical: SCRATCH, content: new Uint8Array(scratch.buffer) },
    ],
    entry: BigInt(FRAME),
  });
  return { elf, starts, halves };
}

/** Offsets in the tables: the root, the middle level, and what each pass copies into the last level of scratch memory, which is at 0. */
const ROOT = 0x1000;
const MIDDLE = 0x2000;
const PTE_POOL = 0x3000;
const LEVELS: Record<Mode, number> = { U: 0, S: 1, M: 3 };
const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, A: 64, D: 128 } as const;
/** What may be missing from an entry. */
const GAPS = [PTE.V, PTE.R, PTE.W, PTE.X, PTE.R | PTE.W, PTE.R | PTE.X, PTE.W | PTE.X, PTE.A, PTE.D, PTE.A | PTE.D];

function pageTables(mode: Mode, random: Random): BigUint64Array<ArrayBuffer> {
  const tables = new BigUint64Array((PTE_POOL + 4096) / 8);
  const entry = (physical: number, flags: number): bigint => (BigInt(physical / 4096) << 10n) | BigInt(flags);
  const own = PTE.V | PTE.R | PTE.W | PTE.X | PTE.A | PTE.D | (mode === 'U' ? PTE.U : 0);
  tables[ROOT / 8 + 2] = entry(TABLES + MIDDLE, PTE.V);
  tables[MIDDLE / 8] = entry(FRAME, own);
  tables[MIDDLE / 8 + 1] = entry(TABLES, PTE.V);
  for (let index = 0; index < PASSES * SCRATCH_PAGES; index++) {
    const usual = own ^ (random.below(16) === 0 ? PTE.U : 0);
    const gap = random.below(5) > 0 ? 0 : random.pick(GAPS);
    const reserved = random.below(40) === 0 ? 1n << BigInt(54 + random.below(10)) : 0n;
    tables[PTE_POOL / 8 + index] = entry(SCRATCH + 4096 * random.below(SCRATCH_PAGES), usual & ~gap) | reserved;
  }
  return tables;
}

function frameText(finish: number, mode: Mode): string {
  const each = (count: number, line: (index: number) => string): string =>
    Array.from({ length: count }, (_, index) => line(index)).join('\n');
  return `
start:  li x1, 0x6000
        csrs mstatus, x1
        la x1, handler
        csrw mtvec, x1
        # Hardware sets A and D; QEMU 7.2 always does.
        li x1, ${1n << 61n}
        csrw menvcfg, x1
        li x1, -1
        csrw pmpaddr0, x1
        li x1, 0x1f
        csrw pmpcfg0, x1
        li x31, ${LOG}
pass:   li x1, 0x6000
        csrs mstatus, x1
        la x1, number
        lw x2, 0(x1)
        slli x3, x2, 9
        li x30, ${VALUES}
        add x30, x30, x3
        # This pass's translations of scratch memory.
        li x4, ${TABLES + PTE_POOL}
        slli x3, x2, 5
        add x4, x4, x3
        li x5, ${TABLES}
        ${each(SCRATCH_PAGES, (index) => `ld x6, ${8 * index}(x4)\n sd x6, ${8 * index}(x5)`)}
        li x4, ${mode === 'M' ? 0n : (8n << 60n) | BigInt((TABLES + ROOT) / 4096)}
        csrw satp, x4
        sfence.vma
        csrw fcsr, x0
        ${each(32, (index) => `fld f${index}, ${8 * (32 + index)}(x30)`)}
        ${each(25, (index) => `ld x${index + 1}, ${8 * (index + 1)}(x30)`)}
        li x26, ${SCRATCH + 2048}
        li x27, ${SCRATCH + 4096}
        li x28, 0
        li x29, 0
        li x30, 0
        li x30, ${BODY}
        csrw mepc, x30
        li x30, 0x1800
        csrc mstatus, x30
        li x30, ${LEVELS[mode] << 11}
        csrs mstatus, x30
        li x30, 0
        mret
passEnd:
        li x29, 0x6000
        csrs mstatus, x29
        la x30, number
        lw x29, 0(x30)
        addi x29, x29, 1
        sw x29, 0(x30)
        la x30, state
        ld x30, 0(x30)
        ${each(28, (index) => `sd x${index + 1}, ${8 * index}(x30)`)}
        ${each(32, (index) => `fsd f${index}, ${8 * (28 + index)}(x30)`)}
        csrr x29, fcsr
        sd x29, ${8 * 60}(x30)
        li x1, ${TABLES}
        ${each(SCRATCH_PAGES, (index) => `ld x2, ${8 * index}(x1)\n andi x2, x2, ~${PTE.A}\n sd x2, ${8 * (61 + index)}(x30)`)}
        addi x29, x30, ${STATE_BYTES}
        la x30, state
        sd x29, 0(x30)
        la x30, number
        lw x29, 0(x30)
        addi x29, x29, -${PASSES}
        blt x29, x0, pass
output: li x1, ${SCRATCH}
        li x2, 0x10000000
1:      lbu x3, 5(x2)
        andi x3, x3, 0x20
        beqz x3, 1b
        lbu x3, 0(x1)
        sb x3, 0(x2)
        addi x1, x1, 1
        bltu x1, x31, 1b
        li x1, 0x100000
        li x2, 0x5555
        sw x2, 0(x1)
2:      j 2b

handler:
        csrr x29, mcause
        sd x29, 0(x31)
        csrr x29, mtval
        sd x29, 16(x31)
        csrr x29, mepc
        sd x29, 8(x31)
        addi x31, x31, ${TRAP_BYTES}
        li x30, ${finish}
        beq x29, x30, passEnd
        lhu x30, 0(x29)
        andi x30, x30, 3
        addi x30, x30, -3
        seqz x30, x30
        slli x30, x30, 1
        addi x29, x29, 2
        add x29, x29, x30
        csrw mepc, x29
        csrw mcause, x0
        csrw mtval, x0
        li x30, ${LOG + MAX_LOG_BYTES}
        bgeu x31, x30, output
        li x30, 0
        mret
        .align 3
number: .dword 0
state:  .dword ${STATES}
`;
}
