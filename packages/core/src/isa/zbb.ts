/** Basic bit manipulation, Zbb (Unprivileged ISA, "B" Extension). */

import type { Emitter, Value32, Value64 } from './emitter.ts';
import { type Instruction, instruction } from './instruction.ts';

function register(
  name: string,
  bits: string,
  summary: string,
  compute: (e: Emitter, a: Value64, b: Value64) => Value64,
): Instruction {
  const [funct7, funct3] = bits.split(' ');
  return instruction('Zbb', name, `${funct7} rs2 rs1 ${funct3} rd 0110011`, 'rd, rs1, rs2', summary, (e) =>
    e.setX(compute(e, e.x('rs1'), e.x('rs2'))),
  );
}

function registerWord(
  name: string,
  bits: string,
  summary: string,
  compute: (a: Value32, b: Value32) => Value32,
): Instruction {
  const [funct7, funct3] = bits.split(' ');
  return instruction('Zbb', name, `${funct7} rs2 rs1 ${funct3} rd 0111011`, 'rd, rs1, rs2', summary, (e) =>
    e.setX(compute(e.x('rs1').toI32(), e.x('rs2').toI32()).toI64S()),
  );
}

function unary(
  name: string,
  encoding: string,
  summary: string,
  compute: (e: Emitter, a: Value64) => Value64,
): Instruction {
  return instruction('Zbb', name, encoding, 'rd, rs1', summary, (e) => e.setX(compute(e, e.x('rs1'))));
}

/** The lesser or greater of two: `isFirst` says when it is the first. */
function extreme(e: Emitter, a: Value64, b: Value64, isFirst: (a: Value64, b: Value64) => Value32): Value64 {
  const first = e.let(a);
  const second = e.let(b);
  return e.select(isFirst(first, second), first, second);
}

/** Every byte that has a bit set becomes 0xff: its top bit is made to say so without a carry into the next byte, then spread. */
function orCombineBytes(e: Emitter, a: Value64): Value64 {
  const low = 0x7f7f_7f7f_7f7f_7f7fn;
  const value = e.let(a);
  return value.and(low).add(low).or(value).shrU(7).and(0x0101_0101_0101_0101n).mul(0xffn);
}

/** Swaps neighbouring bytes, then pairs, then halves. */
function reverseBytes(e: Emitter, a: Value64): Value64 {
  const bytes = 0x00ff_00ff_00ff_00ffn;
  const pairs = 0x0000_ffff_0000_ffffn;
  const value = e.let(a);
  const swapped = e.let(value.and(bytes).shl(8).or(value.shrU(8).and(bytes)));
  return swapped.and(pairs).shl(16).or(swapped.shrU(16).and(pairs)).rotl(32);
}

export const zbb: readonly Instruction[] = [
  register('andn', '0100000 111', 'And with the complement of rs2.', (_, a, b) => a.and(b.xor(-1n))),
  register('orn', '0100000 110', 'Or with the complement of rs2.', (_, a, b) => a.or(b.xor(-1n))),
  register('xnor', '0100000 100', 'The complement of the exclusive or.', (_, a, b) => a.xor(b).xor(-1n)),

  unary('clz', '011000000000 rs1 001 rd 0010011', 'Counts leading zero bits.', (_, a) => a.clz()),
  unary('ctz', '011000000001 rs1 001 rd 0010011', 'Counts trailing zero bits.', (_, a) => a.ctz()),
  unary('cpop', '011000000010 rs1 001 rd 0010011', 'Counts set bits.', (_, a) => a.popcnt()),
  unary('clzw', '011000000000 rs1 001 rd 0011011', 'Counts leading zero bits of the low word.', (_, a) =>
    a.toI32().clz().toI64U(),
  ),
  unary('ctzw', '011000000001 rs1 001 rd 0011011', 'Counts trailing zero bits of the low word.', (_, a) =>
    a.toI32().ctz().toI64U(),
  ),
  unary('cpopw', '011000000010 rs1 001 rd 0011011', 'Counts set bits of the low word.', (_, a) =>
    a.toI32().popcnt().toI64U(),
  ),

  register('max', '0000101 110', 'The greater, signed.', (e, a, b) => extreme(e, a, b, (x, y) => x.geS(y))),
  register('maxu', '0000101 111', 'The greater, unsigned.', (e, a, b) => extreme(e, a, b, (x, y) => x.geU(y))),
  register('min', '0000101 100', 'The lesser, signed.', (e, a, b) => extreme(e, a, b, (x, y) => x.ltS(y))),
  register('minu', '0000101 101', 'The lesser, unsigned.', (e, a, b) => extreme(e, a, b, (x, y) => x.ltU(y))),

  unary('sext.b', '011000000100 rs1 001 rd 0010011', 'Sign-extends a byte.', (_, a) => a.extend8S()),
  unary('sext.h', '011000000101 rs1 001 rd 0010011', 'Sign-extends a halfword.', (_, a) => a.extend16S()),
  unary('zext.h', '000010000000 rs1 100 rd 0111011', 'Zero-extends a halfword.', (_, a) => a.and(0xffffn)),

  register('rol', '0110000 001', 'Rotates left by the low 6 bits of rs2.', (_, a, b) => a.rotl(b)),
  register('ror', '0110000 101', 'Rotates right by the low 6 bits of rs2.', (_, a, b) => a.rotr(b)),
  instruction(
    'Zbb',
    'rori',
    '011000 uimm[5:0] rs1 101 rd 0010011',
    'rd, rs1, uimm',
    'Rotates right by an immediate.',
    (e) => e.setX(e.x('rs1').rotr(e.imm())),
  ),
  registerWord(
    'rolw',
    '0110000 001',
    'Rotates the low word left by the low 5 bits of rs2, sign-extending the result.',
    (a, b) => a.rotl(b),
  ),
  registerWord(
    'rorw',
    '0110000 101',
    'Rotates the low word right by the low 5 bits of rs2, sign-extending the result.',
    (a, b) => a.rotr(b),
  ),
  instruction(
    'Zbb',
    'roriw',
    '0110000 uimm[4:0] rs1 101 rd 0011011',
    'rd, rs1, uimm',
    'Rotates the low word right by an immediate, sign-extending the result.',
    (e) => e.setX(e.x('rs1').toI32().rotr(e.imm32()).toI64S()),
  ),

  unary('orc.b', '001010000111 rs1 101 rd 0010011', 'Sets every byte that is not zero to 0xff.', orCombineBytes),
  unary('rev8', '011010111000 rs1 101 rd 0010011', 'Reverses the order of the bytes.', reverseBytes),
];
