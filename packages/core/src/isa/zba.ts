/** Address generation, Zba (Unprivileged ISA, "B" Extension). */

import type { Value64 } from './emitter.ts';
import { type Instruction, instruction } from './instruction.ts';

const LOW_WORD = 0xffff_ffffn;

function register(
  name: string,
  encoding: string,
  summary: string,
  compute: (a: Value64, b: Value64) => Value64,
): Instruction {
  return instruction('Zba', name, encoding, 'rd, rs1, rs2', summary, (e) => e.setX(compute(e.x('rs1'), e.x('rs2'))));
}

export const zba: readonly Instruction[] = [
  register('add.uw', '0000100 rs2 rs1 000 rd 0111011', 'Adds the zero-extended low word of rs1 to rs2.', (a, b) =>
    a.and(LOW_WORD).add(b),
  ),
  register('sh1add', '0010000 rs2 rs1 010 rd 0110011', 'Adds 2 * rs1 to rs2.', (a, b) => a.shl(1).add(b)),
  register('sh2add', '0010000 rs2 rs1 100 rd 0110011', 'Adds 4 * rs1 to rs2.', (a, b) => a.shl(2).add(b)),
  register('sh3add', '0010000 rs2 rs1 110 rd 0110011', 'Adds 8 * rs1 to rs2.', (a, b) => a.shl(3).add(b)),
  register(
    'sh1add.uw',
    '0010000 rs2 rs1 010 rd 0111011',
    'Adds 2 * the zero-extended low word of rs1 to rs2.',
    (a, b) => a.and(LOW_WORD).shl(1).add(b),
  ),
  register(
    'sh2add.uw',
    '0010000 rs2 rs1 100 rd 0111011',
    'Adds 4 * the zero-extended low word of rs1 to rs2.',
    (a, b) => a.and(LOW_WORD).shl(2).add(b),
  ),
  register(
    'sh3add.uw',
    '0010000 rs2 rs1 110 rd 0111011',
    'Adds 8 * the zero-extended low word of rs1 to rs2.',
    (a, b) => a.and(LOW_WORD).shl(3).add(b),
  ),
  instruction(
    'Zba',
    'slli.uw',
    '000010 uimm[5:0] rs1 001 rd 0011011',
    'rd, rs1, uimm',
    'Shifts the zero-extended low word of rs1 left by an immediate.',
    (e) => e.setX(e.x('rs1').and(LOW_WORD).shl(e.imm())),
  ),
];
