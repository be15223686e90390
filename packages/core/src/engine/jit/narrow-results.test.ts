import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defined } from '../../base/assert.ts';
import type { Decoded, Instruction } from '../../isa/instruction.ts';
import { instructions } from '../../isa/instructions.ts';
import { evaluateMeaning } from '../../isa/testing/evaluating-emitter.ts';
import { shapeOf } from '../shape.ts';
import { isNarrowResult, narrowIn } from './narrow-results.ts';
import { Code } from './testing/code.ts';

const [RD, RS1, RS2] = [5, 6, 7];
const PC = 0x3f_1234_5678n;
const isSignExtension = (value: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(32, value)) === value;
const decoded = (instruction: Instruction, imm: number): Decoded => ({
  instruction,
  written: instruction,
  rd: RD,
  rs1: RS1,
  rs2: RS2,
  rs3: 0,
  imm,
  rm: 0,
  lengthBytes: 4,
});
/** What computes an integer of integers, and nothing else. */
const computing = instructions.filter((instruction) => {
  if (instruction.extension === 'C') return false;
  const { hasRd, floatRd, floatRs1, mayLeave } = shapeOf(instruction);
  return (
    hasRd && !floatRd && !floatRs1 && !mayLeave && instruction.flow === undefined && instruction.meaning !== undefined
  );
});
const number = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  fc.integer().map((value) => BigInt.asUintN(64, BigInt(value))),
  fc.constantFrom(0n, 1n, 1n << 31n, (1n << 64n) - (1n << 31n), (1n << 32n) - 1n, 1n << 63n),
);
const immediate = fc.oneof(fc.integer({ min: -2048, max: 2047 }), fc.integer({ min: 0, max: 63 }));

describe('a result that is said to be the sign extension of its low half', () => {
  test.each(computing.map((instruction) => [instruction.name, instruction] as const))(
    'is that for %s',
    (_, instruction) => {
      let [said, found] = [0, 0];
      fc.assert(
        fc.property(number, number, immediate, (rs1, rs2, imm) => {
          // Amounts of shifts are fields of six bits.
          const given = /^s[lr]/.test(instruction.name) && !instruction.name.startsWith('slt') ? imm & 63 : imm;
          const sources = { rs1, rs2, imm: BigInt.asUintN(64, BigInt(given)), pc: PC };
          const { rd } = evaluateMeaning(defined(instruction.meaning, 'a meaning'), sources);
          const isNarrow = isSignExtension(defined(rd, 'a result'));
          const operands = new Map([
            [RS1, isSignExtension(rs1)],
            [RS2, isSignExtension(rs2)],
          ]);
          const isSaid = isNarrowResult(decoded(instruction, given), (register) => operands.get(register) === true);
          if (isSaid) expect(isNarrow).toBe(true);
          said += Number(isSaid);
          found += Number(isNarrow);
        }),
        { numRuns: 300 },
      );
      // Nothing is forgotten of what always gives one.
      if (found === 300) expect(said).toBe(300);
    },
  );

  test.each([
    ['li t0, -5', true],
    ['mv t0, t1', false],
    ['lwu t0, (t1)', false],
    ['ld t0, (t1)', false],
    ['lw t0, (t1)', true],
    ['lbu t0, (t1)', true],
  ])('%s: %s where nothing is known', (text, expected) => {
    const [op] = new Code(`entry: ${text}`).region().entry.ops;
    expect(isNarrowResult(defined(op, 'an op').decoded, (register) => register === 0)).toBe(expected);
  });
});

describe('registers that a loop holds by their low halves', () => {
  const narrow = (text: string): string[] => {
    const mask = narrowIn([new Code(`entry: ${text}\n bnez a0, entry\nafter: ret`).region().entry]);
    return Array.from({ length: 32 }, (_, register) => `x${register}`).filter((_, register) => (mask >>> register) & 1);
  };

  test('are those whose every result is one, moves from one to the next included', () => {
    expect(narrow('mv x12, x11\n mv x11, x10\n addw x10, x12, x13')).toEqual(['x10', 'x11', 'x12']);
  });

  test('are none that only stay what they were', () => {
    expect(narrow('xor x10, x10, x11\n mv x12, x10\n mv x11, x12')).toEqual([]);
  });

  test('are none that come from one which is only narrow where a round ends', () => {
    expect(narrow('mv x11, x10\n slli x10, x12, 48\n srli x10, x10, 48')).toEqual([]);
    expect(narrow('and x11, x10, x10\n ld x10, 0(x12)\n sext.w x10, x10')).toEqual([]);
  });

  test('are none that are something else in between', () => {
    expect(narrow('sll x10, x10, x10\n sext.w x10, x10\n addw x11, x11, x10')).toEqual(['x11']);
  });
});
