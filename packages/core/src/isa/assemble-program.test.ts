import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { assembleProgram } from './assemble-program.ts';
import { disassemble } from './disassemble.ts';

const BASE = 0x8000_0000n;

/** The program's instructions, disassembled. */
function listing(text: string): string[] {
  const { bytes } = assembleProgram(text, BASE);
  const view = new DataView(bytes.buffer);
  const lines: string[] = [];
  for (let offset = 0; offset < bytes.length;) {
    const half = view.getUint16(offset, true);
    const word = (half & 3) === 3 ? view.getUint32(offset, true) : half;
    lines.push(disassemble(word, BASE + BigInt(offset)).replace('\t', ' '));
    offset += (half & 3) === 3 ? 4 : 2;
  }
  return lines;
}

/** What the sequence for `li` leaves in the register. */
function run(lines: readonly string[]): bigint {
  let value = 0n;
  for (const line of lines) {
    const operand = BigInt(line.split(',').at(-1) ?? '');
    if (line.startsWith('lui ')) value = BigInt.asIntN(32, operand << 12n);
    else if (line.startsWith('addiw ')) value = BigInt.asIntN(32, value + operand);
    else if (line.startsWith('slli ')) value = BigInt.asIntN(64, value << operand);
    else if (line.startsWith('addi ')) value = BigInt.asIntN(64, (line.includes(',x0,') ? 0n : value) + operand);
    else throw new Error(`li made "${line}"`);
  }
  return value;
}

describe('assembleProgram', () => {
  test('places instructions and data one after another, with labels before and after their use', () => {
    const { bytes, symbols } = assembleProgram(
      `
      start:  beq  a0, a1, done     # forwards
              c.addi a0, 1          // two bytes
              j    start
      done: end:
              .byte 1, -1, 'A'
              .balign 4
              .half 0x1234
              .word start - .
              .dword done
              .asciz "a,#\\n"
      `,
      BASE,
    );
    expect([...symbols]).toEqual([
      ['start', BASE],
      ['done', BASE + 10n],
      ['end', BASE + 10n],
    ]);
    expect(Buffer.from(bytes).toString('hex')).toBe(
      ['6305b500', '0505', '6ff0bfff', '01ff41', '000000', '3412', 'eeffffff', '0a00008000000000', '612c230a00'].join(
        '',
      ),
    );
  });

  test('knows numeric labels by direction', () => {
    expect(listing('1: nop\n bnez a0, 1b\n bnez a0, 1f\n 1: j 1b\n j 2f\n 2:')).toEqual([
      'addi x0,x0,0',
      'bne x10,x0,0x80000000',
      'bne x10,x0,0x8000000c',
      'jal x0,0x8000000c',
      'jal x0,0x80000014',
    ]);
  });

  test('expands pseudo-instructions', () => {
    expect(
      listing('mv a0, a1\n ret\n jal .\n jalr a0\n csrw mtvec, t0\n bgt a0, a1, .\n fneg.d fa0, fa1\n fence'),
    ).toEqual([
      'addi x10,x11,0',
      'jalr x0,0(x1)',
      'jal x1,0x80000008',
      'jalr x1,0(x10)',
      'csrrw x0,mtvec,x5',
      'blt x11,x10,0x80000014',
      'fsgnjn.d f10,f11,f11',
      'fence iorw,iorw',
    ]);
  });

  test('loads addresses relative to the program counter', () => {
    expect(listing('la a0, far\n call far\n .equ far, 0x80012fff')).toEqual([
      'auipc x10,0x13',
      'addi x10,x10,-1',
      'auipc x1,0x13',
      'jalr x1,-9(x1)',
    ]);
  });

  test('loads every 64-bit value with li', () => {
    const interesting = fc.constantFrom(
      ...[0n, 1n, -1n].flatMap((near) => [0, 11, 12, 31, 32, 44, 63].map((bit) => (1n << BigInt(bit)) + near)),
    );
    fc.assert(
      fc.property(fc.oneof(interesting, fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n })), (value) => {
        expect(run(listing(`li a0, ${value}`))).toBe(BigInt.asIntN(64, value));
      }),
      { numRuns: 300 },
    );
    expect(listing('li a0, 0x7ffff800')).toEqual(['lui x10,0x80000', 'addiw x10,x10,-2048']);
  });

  test.each([
    ['nop\n  addi x1, x2, 5000', 'Line 2: "addi x1, x2, 5000": addi cannot hold 5000 as its imm.'],
    ['nope', 'Line 1: There is no instruction "nope".'],
    ['.section .data', 'Line 1: There is no directive ".section".'],
    ['a: nop\na: nop', 'Line 2: "a" is defined twice.'],
    ['j nowhere', 'Line 1: There is no symbol "nowhere" here.'],
    ['j 1f', 'Line 1: There is no symbol "1" here.'],
    ['li a0, later\nlater:', 'Line 1: There is no symbol "later" here.'],
    ['li a0', 'Line 1: "li a0" should be "li rd, value".'],
    ['li a0, 1 << 64', 'Line 1: 18446744073709551616 does not fit into 64 bits.'],
    ['.byte 256', 'Line 1: 256 does not fit into 8 bits.'],
    ['.balign 3', 'Line 1: An alignment must be a power of two; 3 is not.'],
    ['.zero -1', 'Line 1: -1 is no possible size.'],
    ['.zero', 'Line 1: .zero takes one value.'],
    ['.zero 0x4000000\n.byte 0', 'Line 2: The program is larger than 67108864 bytes.'],
    ['.asciz no', 'Line 1: no should be a string in double quotes.'],
    ['.equ x', 'Line 1: .equ should be ".equ name, value".'],
  ])('refuses %j with the line and a sentence', (text, message) => {
    expect(() => assembleProgram(text, BASE)).toThrow(message);
  });
});
