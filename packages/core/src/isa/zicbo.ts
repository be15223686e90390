/**
 * Cache-block management and zeroing, Zicbom and Zicboz (Unprivileged ISA, "CMO" Extensions). The address is the value of rs1; the block's
 * size and the checks of menvcfg and senvcfg are the engine's. Zicbop's prefetches are HINTs in the encoding of ori with rd = x0.
 */

import type { SystemOperation } from './emitter.ts';
import { type Extension, type Instruction, instruction } from './instruction.ts';

function cacheBlock(extension: Extension, name: SystemOperation, operation: string, summary: string): Instruction {
  return instruction(extension, name, `${operation} rs1 010 00000 0001111`, '(rs1)', summary, (e) => e.system(name));
}

export const zicbo: readonly Instruction[] = [
  cacheBlock('Zicbom', 'cbo.inval', '000000000000', 'Invalidates the cache block at the address in rs1.'),
  cacheBlock('Zicbom', 'cbo.clean', '000000000001', 'Writes the cache block at the address in rs1 back to memory.'),
  cacheBlock(
    'Zicbom',
    'cbo.flush',
    '000000000010',
    'Writes the cache block at the address in rs1 back and invalidates it.',
  ),
  cacheBlock('Zicboz', 'cbo.zero', '000000000100', 'Stores zeros to the cache block at the address in rs1.'),
];
