/** Reading and writing control and status registers, Zicsr (Unprivileged ISA, "Zicsr" Extension). */

import type { Emitter } from './emitter.ts';
import { type Instruction, instruction } from './instruction.ts';

function register(name: string, funct3: string, summary: string, meaning: (e: Emitter) => void): Instruction {
  return instruction('Zicsr', name, `csr rs1 ${funct3} rd 1110011`, 'rd, csr, rs1', summary, meaning, 'system');
}

function immediate(name: string, funct3: string, summary: string, meaning: (e: Emitter) => void): Instruction {
  return instruction('Zicsr', name, `csr zimm ${funct3} rd 1110011`, 'rd, csr, zimm', summary, meaning, 'system');
}

export const zicsr: readonly Instruction[] = [
  register('csrrw', '001', 'Reads a CSR and writes rs1 to it.', (e) => e.csr('write', 'register')),
  register('csrrs', '010', 'Reads a CSR and sets the bits that rs1 has set; with x0 it only reads.', (e) =>
    e.csr('set', 'register'),
  ),
  register('csrrc', '011', 'Reads a CSR and clears the bits that rs1 has set; with x0 it only reads.', (e) =>
    e.csr('clear', 'register'),
  ),
  immediate('csrrwi', '101', 'Reads a CSR and writes an immediate to it.', (e) => e.csr('write', 'immediate')),
  immediate('csrrsi', '110', 'Reads a CSR and sets the bits of an immediate; with 0 it only reads.', (e) =>
    e.csr('set', 'immediate'),
  ),
  immediate('csrrci', '111', 'Reads a CSR and clears the bits of an immediate; with 0 it only reads.', (e) =>
    e.csr('clear', 'immediate'),
  ),
];
