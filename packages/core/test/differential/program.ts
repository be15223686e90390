/**
 * A whole random program for M-mode: several passes over a random body, each from other register values, then everything that can be
 * seen goes out of the UART as bytes. The same file runs on every machine of the `virt` kind.
 *
 *     0x8000_0000   frame: set-up, passes, trap handler, output      0x8020_0000   scratch memory
 *     0x8001_0000   the body                                         0x8020_4000   state at the end of each pass
 *     0x8010_0000   values                                           0x8020_8000   trap log: mcause, mepc, mtval
 */

import { Random } from '../../src/engine/float/testing/vectors.ts';
import { assembleProgram } from '../../src/isa/assemble-program.ts';
import { buildElf } from '../../src/machine/loader/testing/payloads.ts';
import { Body, SCRATCH_BYTES } from './body.ts';
import { floatValue, integerValue } from './values.ts';

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
const MAX_LOG_BYTES = 0x1_8000;
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
  const { halves, starts } = new Body(random, {
    body: BODY,
    scratch: SCRATCH,
    pool,
    poolEntries: POOL_ENTRIES,
  }).generate(items, end);
  const finish = starts.at(-1) ?? BODY;
  const frame = assembleProgram(frameText(), BigInt(FRAME));
  const passEnd = frame.symbols.get('passEnd') ?? 0n;
  const tail = assembleProgram(`j ${passEnd}`, BigInt(finish)).bytes;
  const body = new Uint8Array(halves.length * 2 + tail.length);
  body.set(new Uint8Array(Uint16Array.from(halves).buffer));
  body.set(tail, halves.length * 2);
  const elf = buildElf({
    segments: [
      { physical: FRAME, content: frame.bytes },
      { physical: BODY, content: body },
      { physical: VALUES, content: new Uint8Array(values.buffer) },
      { physical: SCRATCH, content: new Uint8Array(scratch.buffer) },
    ],
    entry: BigInt(FRAME),
  });
  return { elf, starts, halves };
}

function frameText(): string {
  const each = (count: number, line: (index: number) => string): string =>
    Array.from({ length: count }, (_, index) => line(index)).join('\n');
  return `
start:  li x1, 0x6000
        csrs mstatus, x1
        la x1, handler
        csrw mtvec, x1
        li x31, ${LOG}
pass:   li x1, 0x6000
        csrs mstatus, x1
        la x1, number
        lw x2, 0(x1)
        slli x3, x2, 9
        li x30, ${VALUES}
        add x30, x30, x3
        csrw fcsr, x0
        ${each(32, (index) => `fld f${index}, ${8 * (32 + index)}(x30)`)}
        ${each(25, (index) => `ld x${index + 1}, ${8 * (index + 1)}(x30)`)}
        li x26, ${SCRATCH + 2048}
        li x27, ${SCRATCH + 4096}
        li x28, 0
        li x29, 0
        li x30, 0
        li x30, ${BODY}
        jr x30
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
        li x29, 0x1800
        csrs mstatus, x29
        li x30, ${LOG + MAX_LOG_BYTES}
        bgeu x31, x30, output
        li x30, 0
        mret
        .align 3
number: .dword 0
state:  .dword ${STATES}
`;
}
