import { describe, expect, test } from 'vitest';

import { assemble } from './assemble.ts';
import { AssemblyError } from './assembly-error.ts';
import { disassemble } from './disassemble.ts';

/** The error that assembling `text` ends with. */
function failure(text: string): AssemblyError {
  try {
    assemble(text);
  } catch (error) {
    if (error instanceof AssemblyError) return error;
    throw error;
  }
  throw new Error(`"${text}" was assembled`);
}

describe('assemble', () => {
  test.each([
    ['addi x1, x2, -4', 0xffc1_0093],
    ['addi ra,sp,-4', 0xffc1_0093],
    ['lui a0, 0x12345', 0x1234_5537],
    ['lui a0, -1', 0xffff_f537],
    ['ld s0, 16(sp)', 0x0101_3403],
    ['ld fp, (sp)', 0x0001_3403],
    ['sd s0, 8 + 8 (sp)', 0x0081_3823],
    ['csrrw x0, mtvec, x5', 0x3052_9073],
    ['csrrsi x1, 0x7c0, 31', 0x7c0f_e0f3],
    ['lr.w.aqrl x5, (x10)', 0x1605_22af],
    ['sc.d.rl x5, x6, 0(x10)', 0x1a65_32af],
    ['fadd.s f10, f10, f11', 0x00b5_7553],
    ['fadd.s fa0, fa0, fa1, rne', 0x00b5_0553],
    ['fcvt.d.w fa0, a0', 0xd205_0553],
    ['fence iorw, rw', 0x0f30_000f],
    ['c.addi sp, -16', 0x1141],
    ['c.lwsp ra, 12(sp)', 0x40b2],
    ['ecall', 0x0000_0073],
  ])('%s', (text, word) => {
    expect(assemble(text)).toBe(word);
  });

  test('takes a branch target as an address and encodes the distance', () => {
    expect(assemble('bne x10, x0, 0x36', 0x56n)).toBe(0xfe05_10e3);
    expect(assemble('jal x0, .')).toBe(0x0000_006f);
    expect(disassemble(assemble('jal x1, 0x10', 0xffff_ffff_ffff_fff0n), 0xffff_ffff_ffff_fff0n)).toBe('jal\tx1,0x10');
  });

  test.each([
    ['', 'syntax', 'An instruction is missing.'],
    ['adi x1, x2, 3', 'unknown', 'There is no instruction "adi".'],
    ['add.aq x1, x2, x3', 'unknown', 'There is no instruction "add.aq".'],
    ['addi x1, x2', 'syntax', '"addi x1, x2" should be "addi rd, rs1, imm".'],
    ['ecall 1', 'syntax', '"ecall 1" should be "ecall".'],
    ['addi x1, x32, 0', 'unknown', '"x32" is no integer register.'],
    ['fadd.s f0, f1, x2', 'unknown', '"x2" is no float register.'],
    ['fadd.s f0, f1, f2, up', 'unknown', '"up" is no rounding mode: rne, rtz, rdn, rup, rmm and dyn are.'],
    ['addi x1, x2, 2048', 'range', '"addi x1, x2, 2048": addi cannot hold 2048 as its imm.'],
    ['lui x1, 0x100000', 'range', '"0x100000" does not fit into 20 bits.'],
    ['beq x0, x0, 1', 'range', '"beq x0, x0, 1": beq cannot hold 1 as its imm.'],
    ['c.lw x7, 0(x8)', 'range', '"c.lw x7, 0(x8)": c.lw cannot hold 7 as its rd\'.'],
    ['c.lwsp x0, 0(x2)', 'range', '"c.lwsp x0, 0(x2)": c.lwsp with these operands is 0x4002, a reserved encoding.'],
    ['c.add x0, x0', 'range', '"c.add x0, x0": c.add with these operands is 0x9002, the encoding of c.ebreak.'],
    ['c.lwsp x1, 0(x3)', 'range', '"0(x3)": the base must be x2 here.'],
    ['lr.w x1, 4(x2)', 'range', '"4(x2)": this instruction\'s address has no offset.'],
    ['lw x1, x2', 'syntax', '"x2" should be an address such as 8(x2).'],
    ['fence wr, rw', 'syntax', '"wr" should be letters of "iorw" in this order, or 0.'],
    ['addi x1, x2, value', 'unknown', 'There is no symbol "value" here.'],
    ['addi x1, x2, 3 +', 'syntax', '"3 +" is not an expression.'],
    ['addi x1, x2, "', 'syntax', '"addi x1, x2, "" has a quote that is not closed.'],
  ])('refuses "%s" with a sentence', (text, code, message) => {
    expect(failure(text)).toMatchObject({ code, message, line: undefined });
  });
});

describe('disassemble', () => {
  test('writes the ABI names of registers when asked', () => {
    expect(disassemble(0xffc1_0093, 0n, { registers: 'abi' })).toBe('addi\tra,sp,-4');
    expect(disassemble(0x00b5_7553, 0n, { registers: 'abi' })).toBe('fadd.s\tfa0,fa0,fa1');
  });

  test('writes an illegal word as data', () => {
    expect(disassemble(0xffff_ffff, 0n)).toBe('.word\t0xffffffff');
    expect(disassemble(0, 0n)).toBe('.half\t0x0000');
  });
});
