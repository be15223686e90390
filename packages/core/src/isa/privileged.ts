/**
 * Instructions of the privileged architecture (Privileged ISA, "Machine-Mode Privileged Instructions" and "Supervisor Instructions"),
 * Svinval, and the two encodings of fence that have names of their own: fence.tso (Unprivileged ISA, "Memory Ordering Instructions")
 * and pause (Zihintpause).
 */

import type { SystemOperation } from './emitter.ts';
import { type Extension, type Instruction, instruction } from './instruction.ts';

function system(
  extension: Extension,
  name: SystemOperation,
  encoding: string,
  syntax: string,
  summary: string,
): Instruction {
  return instruction(extension, name, encoding, syntax, summary, (e) => e.system(name), 'system');
}

export const privileged: readonly Instruction[] = [
  system('S', 'mret', '0011000 00010 00000 000 00000 1110011', '', 'Returns from a trap taken in M-mode.'),
  system('S', 'sret', '0001000 00010 00000 000 00000 1110011', '', 'Returns from a trap taken in S-mode.'),
  system('S', 'wfi', '0001000 00101 00000 000 00000 1110011', '', 'Waits for an interrupt.'),
  system(
    'S',
    'sfence.vma',
    '0001001 rs2 rs1 000 00000 1110011',
    'rs1, rs2',
    'Orders page-table stores before later translations, of one address (rs1) and address space (rs2) or of all (x0).',
  ),
  system(
    'Svinval',
    'sinval.vma',
    '0001011 rs2 rs1 000 00000 1110011',
    'rs1, rs2',
    'Drops translations as sfence.vma does, without its ordering.',
  ),
  system(
    'Svinval',
    'sfence.w.inval',
    '0001100 00000 00000 000 00000 1110011',
    '',
    'Orders earlier stores before later sinval.vma.',
  ),
  system(
    'Svinval',
    'sfence.inval.ir',
    '0001100 00001 00000 000 00000 1110011',
    '',
    'Orders earlier sinval.vma before later translations.',
  ),

  instruction(
    'I',
    'fence.tso',
    '1000 0011 0011 rs1 000 rd 0001111',
    '',
    'Orders loads before all, and stores before stores.',
    (e) => e.system('fence'),
  ),
  instruction(
    'Zihintpause',
    'pause',
    '0000 0001 0000 00000 000 00000 0001111',
    '',
    'Hints that this hart is spinning.',
    (e) => e.system('pause'),
  ),
];
