/** Integer conditional operations, Zicond (Unprivileged ISA, "Zicond" Extension). */

import { type Instruction, instruction } from './instruction.ts';

export const zicond: readonly Instruction[] = [
  instruction(
    'Zicond',
    'czero.eqz',
    '0000111 rs2 rs1 101 rd 0110011',
    'rd, rs1, rs2',
    'rs1, or zero if rs2 is zero.',
    (e) => e.setX(e.select(e.x('rs2').eqz(), e.constant(0n), e.x('rs1'))),
  ),
  instruction(
    'Zicond',
    'czero.nez',
    '0000111 rs2 rs1 111 rd 0110011',
    'rd, rs1, rs2',
    'rs1, or zero if rs2 is not zero.',
    (e) => e.setX(e.select(e.x('rs2').eqz(), e.x('rs1'), e.constant(0n))),
  ),
];
