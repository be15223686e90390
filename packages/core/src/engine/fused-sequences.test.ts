import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defined } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { assembleProgram } from '../isa/assemble-program.ts';
import { decode } from '../isa/decode.ts';
import { Domain } from './domain.ts';
import { SPECIAL, entryNumber, handlerNumber, handlerOf, handlers } from './handlers.ts';
import { RECORD } from './layout.ts';
import { writeRecord } from './predecode.ts';
import { DATA, RAM, Rig } from './testing/rig.ts';

/** Each of the long sequences, with the registers that it forwards, and with others. `again` is where the program goes on. */
const LONG = [
  'slli a5, a3, 13\n c.xor a5, a3\n srli a4, a5, 7\n c.xor a5, a4',
  'slli a5, a3, 13\n c.xor a5, a4\n srli a2, a5, 7\n c.xor a3, a2',
  'slli a3, a5, 17\n andi a4, a5, 1023\n c.xor a3, a5\n c.slli a4, 2',
  'slli a3, a5, 17\n andi a3, a5, 1023\n c.xor a3, a5\n c.slli a3, 2',
  'add a5, a2, s0\n and a0, a3, a4\n c.lw a5, 0(a5)\n c.bnez a0, back',
  'add a5, a2, s0\n and a5, a2, s0\n c.lw a5, 0(a5)\n c.bnez a5, back',
  'mulw a5, a5, a4\n c.add a4, a2\n c.addi a1, 1\n c.addiw a5, 1',
  'mulw a5, a5, a4\n c.add a5, a2\n c.addi a1, 1\n c.addiw a5, 1',
  'c.addw a5, a1\n c.add a4, a2\n slli a0, a5, 32\n c.srli a0, 32',
  'c.addw a5, a1\n c.add a5, a2\n slli a0, a5, 32\n c.srli a0, 32',
  'c.sw a5, 0(s0)\n c.addi a1, 1\n c.add s1, a0\n beq a1, a3, again',
  'slli a0, a5, 32\n c.srli a0, 32\n sw a5, 8(s0)\n c.add s1, a0\n bne a1, a3, back',
  'slli a0, a5, 32\n c.srli a0, 32\n sw a5, 8(s0)\n c.add a0, s1\n bne a1, a3, back',
];

function program(sequence: string, seed: number): string {
  const values = ['a0', 'a1', 'a2', 'a3', 'a4', 'a5', 's1'].map(
    (name, index) => `li ${name}, ${((seed + index) * 0x9e37_79b9) % 0x7fff_ffff}`,
  );
  return `
        la t0, trapped
        csrw mtvec, t0
        ${values.join('\n')}
        li s0, ${DATA}
        ${seed % 2 === 0 ? 'li a2, 16' : ''}
        j start
back:   li s5, 1
        j end
start:  ${sequence}
        addi s4, s4, 1
again:  addi s4, s4, 2
end:    wfi
        j end
        .align 2
trapped: csrr s6, mcause
        csrr s7, mepc
        j end`;
}

describe('fused sequences', () => {
  test('there are some of more than two instructions', () => {
    expect(Math.max(...handlers.map(({ rest }) => rest.length))).toBeGreaterThan(2);
  });

  test.each(LONG)('%j does what its instructions do', async (sequence) => {
    const [fused, reference] = [await Rig.of('interpreter', ''), await Rig.of('jit-eager', '')];
    for (let seed = 0; seed < 8; seed++) {
      const at = RAM + 0x4_0000 + seed * 0x1000;
      for (const rig of [fused, reference]) {
        rig.place(at, program(sequence, seed));
        rig.hart.reset(BigInt(at));
        rig.finish();
      }
      const all = (rig: Rig): unknown => [
        Array.from({ length: 32 }, (_, number) => rig.hart.x(number)),
        rig.load(DATA),
        rig.load(DATA + 8),
      ];
      expect(all(fused)).toEqual(all(reference));
    }
    expect(reference.hart.get64('compiled')).toBeGreaterThan(0n);
  });

  test('a sequence is no longer done when the last of its instructions was written over', async () => {
    // `c.add s1, a0` becomes `c.mv s1, a0`.
    const rig = await Rig.of(
      'interpreter',
      `
        li s0, ${DATA}
        li a5, -1
        li s1, 5
        li s2, 3
        li s3, 1
        la t1, patched
        li t2, 0x84aa
loop:   addi s2, s2, -1
        bne s2, s3, go
        sh t2, 0(t1)
go:     slli a0, a5, 32
        c.srli a0, 32
        sw a5, 8(s0)
patched: c.add s1, a0
        bne s2, x0, loop
1:      wfi
        j 1b`,
    );
    rig.finish();
    expect(rig.hart.x(9)).toBe(0xffff_ffffn);
  });

  test('a sequence is no longer done when an instruction behind it was written over, and then one of its own', async () => {
    // The first write makes records void up to the middle of the sequence, whose first one stands for them still. `c.xor` becomes `c.and`.
    const rig = await Rig.of(
      'interpreter',
      `
        li a3, 0x1234567
        li s2, 3
        li s3, 1
        la t1, patched
        la t3, behind
        li t2, 0x8ff9
        li t4, 0x0001
loop:   addi s2, s2, -1
        bne s2, s3, go
        sh t4, 0(t3)
        sh t2, 0(t1)
        fence.i
go:     slli a5, a3, 13
        c.xor a5, a3
        srli a4, a5, 7
patched: c.xor a5, a4
        addi t5, t5, 1
behind: c.nop
        bne s2, x0, loop
1:      wfi
        j 1b`,
    );
    rig.finish();
    const mixed = 0x123_4567n ^ (0x123_4567n << 13n);
    expect(rig.hart.x(15)).toBe(mixed & (mixed >> 7n));
  });
});

/** The code of all long sequences, one behind the other. */
const CODE = new Uint16Array(
  assembleProgram(
    LONG.map((text, index) => `back${index}:\nagain${index}: ${text.replace(/(back|again)$/, `$1${index}`)}`).join(
      '\n',
    ),
    0n,
  ).bytes.buffer,
);

/** A domain whose page of index PAGE holds that code. */
class Records {
  static readonly PAGE = 3;
  readonly domain = new Domain([{ base: RAM, sizeBytes: 8 * PAGE_SIZE, writable: true }]);
  readonly #code = this.domain.guest.host(Records.PAGE, true) >>> 1;
  /** Where a record can be written to look at it. */
  readonly #scratch = this.domain.guest.host(Records.PAGE + 1, true);

  constructor() {
    this.domain.u16.set(CODE, this.#code);
  }

  #record(slot: number): number {
    return this.domain.codePage(this.domain.guest.frameNumber(Records.PAGE)) + slot * RECORD.BYTES;
  }

  #handler(slot: number): number {
    return defined(this.domain.u16[this.#record(slot) >>> 1], 'a record');
  }

  decode(slot: number): void {
    if (this.#handler(slot) === SPECIAL.decode) this.domain.decode(this.#record(slot));
  }

  write(slot: number, halves: readonly number[]): void {
    this.domain.u16.set(halves, this.#code + slot);
    this.domain.guest.codeWritten(Records.PAGE, 2 * slot, 2 * halves.length);
  }

  /** The handler of the instruction that is at `slot` now, and its operands. */
  #fresh(slot: number): [number, string] {
    const low = defined(this.domain.u16[this.#code + slot], 'code');
    const word = (low & 3) === 3 ? (low | (defined(this.domain.u16[this.#code + slot + 1], 'code') << 16)) >>> 0 : low;
    this.domain.u8.fill(0, this.#scratch, this.#scratch + RECORD.BYTES);
    const decoded = decode(word);
    writeRecord(this.domain, this.#scratch, decoded);
    const far = defined(this.domain.u16[this.#scratch >>> 1], 'a handler');
    const isRelative = decoded?.instruction.flow === 'branch' || decoded?.instruction.flow === 'jump';
    if (!decoded || !isRelative || (2 * slot + decoded.imm) >>> 12 !== 0) return [far, this.#operands(this.#scratch)];
    // Within the page distances are in halves of records.
    this.domain.i32[(this.#scratch + RECORD.IMM) >>> 2] = (decoded.imm * RECORD.BYTES) / 2;
    const reach = decoded.imm > 0 ? 'forward' : 'backward';
    return [handlerNumber(entryNumber(decoded.instruction), decoded.lengthBytes, reach), this.#operands(this.#scratch)];
  }

  #operands(record: number): string {
    return this.domain.u8.subarray(record + 2, record + RECORD.BYTES).join();
  }

  /** The slots whose records stand for something else than what is there. */
  stale(): number[] {
    const found: number[] = [];
    for (let slot = 0; slot < CODE.length; slot++) {
      const handler = handlerOf(this.#handler(slot));
      if (!handler) continue;
      let at = slot;
      for (const { entry, length, reach } of [handler, ...handler.rest]) {
        const [number, operands] = this.#fresh(at);
        if (
          number !== handlerNumber(entryNumber(entry), length, reach) ||
          operands !== this.#operands(this.#record(at))
        )
          found.push(slot);
        at += length / 2;
      }
    }
    return found;
  }
}

test('records stand for the code that is there, whatever was decoded and written before', () => {
  const slot = fc.integer({ min: 0, max: CODE.length - 1 });
  const steps = fc.array(
    fc.oneof(
      fc.record({ slot, from: fc.constant(-1), count: fc.constant(1) }),
      fc.record({ slot, from: slot, count: fc.constantFrom(1, 1, 2, 4) }),
    ),
    { minLength: 1, maxLength: 30 },
  );
  fc.assert(
    fc.property(slot, steps, (first, all) => {
      const records = new Records();
      records.decode(0);
      records.decode(first);
      for (const { slot: at, from, count } of all) {
        if (from < 0) records.decode(at);
        else records.write(at, [...CODE.subarray(from, from + count)].slice(0, CODE.length - at));
        expect(records.stale()).toEqual([]);
      }
    }),
    { numRuns: 60 },
  );
});
