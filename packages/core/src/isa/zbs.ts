/** Single-bit instructions, Zbs (Unprivileged ISA, "B" Extension). The bit's number is the low 6 bits of rs2 or an immediate. */

import type { Emitter, Value64 } from './emitter.ts';
import { type Instruction, instruction } from './instruction.ts';

type Compute = (e: Emitter, value: Value64, index: Value64) => Value64;

/** The register form and the immediate form of one operation. */
function pair(name: string, funct6: string, funct3: string, verb: string, compute: Compute): Instruction[] {
  return [
    instruction(
      'Zbs',
      name,
      `${funct6}0 rs2 rs1 ${funct3} rd 0110011`,
      'rd, rs1, rs2',
      `${verb} the bit that rs2 names.`,
      (e) => e.setX(compute(e, e.x('rs1'), e.x('rs2'))),
    ),
    instruction(
      'Zbs',
      `${name}i`,
      `${funct6} uimm[5:0] rs1 ${funct3} rd 0010011`,
      'rd, rs1, uimm',
      `${verb} the bit that an immediate names.`,
      (e) => e.setX(compute(e, e.x('rs1'), e.imm())),
    ),
  ];
}

export const zbs: readonly Instruction[] = [
  ...pair('bclr', '010010', '001', 'Clears', (e, value, index) => value.and(e.constant(1n).shl(index).xor(-1n))),
  ...pair('bext', '010010', '101', 'Extracts', (_, value, index) => value.shrU(index).and(1n)),
  ...pair('binv', '011010', '001', 'Inverts', (e, value, index) => value.xor(e.constant(1n).shl(index))),
  ...pair('bset', '001010', '001', 'Sets', (e, value, index) => value.or(e.constant(1n).shl(index))),
];
