import { describe, expect, test } from 'vitest';

import { decode } from './decode.ts';

/** The mnemonic that was written, or undefined. */
function named(word: number): string | undefined {
  return decode(word)?.written.name;
}

describe('decode', () => {
  test('takes the operands of a full instruction apart', () => {
    expect(decode(0xffc1_0113)).toMatchObject({ lengthBytes: 4, rd: 2, rs1: 2, imm: -4 });
    expect(decode(0x5b7d_1003)).toMatchObject({ instruction: { name: 'lh' }, rd: 0, rs1: 26, imm: 0x5b7 });
    expect(decode(0x9b4c_67c3)).toMatchObject({
      instruction: { name: 'fmadd.d' },
      rd: 15,
      rs1: 24,
      rs2: 20,
      rs3: 19,
      rm: 6,
    });
  });

  test('gives the CSR number as the immediate, and the five-bit value in the place of rs1', () => {
    expect(decode(0x3052_9073)).toMatchObject({ instruction: { name: 'csrrw' }, rd: 0, rs1: 5, imm: 0x305 });
    expect(decode(0x300f_f573)).toMatchObject({ instruction: { name: 'csrrci' }, rd: 10, rs1: 31, imm: 0x300 });
  });

  test('gives a compressed instruction as the full one it stands for', () => {
    expect(decode(0x1141)).toMatchObject({
      instruction: { name: 'addi' },
      written: { name: 'c.addi' },
      lengthBytes: 2,
      rd: 2,
      rs1: 2,
      imm: -16,
    });
    expect(decode(0x8082)).toMatchObject({
      instruction: { name: 'jalr' },
      written: { name: 'c.jr' },
      rd: 0,
      rs1: 1,
      imm: 0,
    });
  });

  test('looks at the low 16 bits of a compressed word only', () => {
    expect(decode(0xffff_8082)).toBe(decode(0x8082));
  });

  test('gives the more specific of two entries', () => {
    expect(named(0x0100_000f)).toBe('pause');
    expect(named(0x8330_000f)).toBe('fence.tso');
    expect(named(0x0ff0_000f)).toBe('fence');
    expect(named(0x0001)).toBe('c.nop');
    expect(named(0x9002)).toBe('c.ebreak');
    expect(named(0x9082)).toBe('c.jalr');
    expect(named(0x9086)).toBe('c.add');
  });

  test('ignores the reserved fields of fence and fence.i, as the manual asks', () => {
    expect(named(0xf0f0_8f8f | 0x4000_0000)).toBe('fence');
    expect(named(0xfff0_9f8f)).toBe('fence.i');
  });

  test('decodes HINTs as the instruction they are encoded in', () => {
    expect(named(0x0000_6013)).toBe('ori'); // prefetch.i of Zicbop
    expect(named(0x0020_0033)).toBe('add'); // ntl.p1 of Zihintntl
    expect(named(0x0005)).toBe('c.addi'); // c.addi x0, 1
    expect(named(0x4005)).toBe('c.li'); // c.li x0, 1
    expect(named(0x6005)).toBe('c.lui'); // c.lui x0, 1
    expect(named(0x800a)).toBe('c.mv'); // c.mv x0, x2
    expect(named(0x900a)).toBe('c.add'); // c.ntl.p1
    expect(named(0x0082)).toBe('c.slli'); // a shift by 0
  });

  test('leaves reserved rounding modes to the engine', () => {
    expect(decode(0x00b5_5553)).toMatchObject({ instruction: { name: 'fadd.s' }, rm: 5 });
    expect(decode(0x00b5_6553)).toMatchObject({ instruction: { name: 'fadd.s' }, rm: 6 });
  });

  test.each([
    ['all zeros', 0],
    ['all ones', 0xffff_ffff],
    ['c.addi4spn with an immediate of 0', 0x0004],
    ['quadrant 0 with funct3 100', 0x8000],
    ['c.addiw into x0', 0x2005],
    ['c.addi16sp by 0', 0x6101],
    ['c.lui with an immediate of 0', 0x6081],
    ['c.subw with the bits of nothing', 0x9c41],
    ['c.lwsp into x0', 0x4002],
    ['c.ldsp into x0', 0x6002],
    ['c.jr to x0', 0x8002],
    ['an encoding longer than 32 bits', 0x0000_001f],
    ['slli by 64', 0x0400_9093],
    ['slliw by 32', 0x0200_909b],
    ['the debug return', 0x7b20_0073],
    ['lr.w with rs2', 0x1010_a0af],
    ['mret with rd', 0x3020_00f3],
  ])('does not know %s', (_, word) => {
    expect(decode(word)).toBeUndefined();
  });
});
