/** Which instructions compiled code does itself. Of CSR instructions those whose effects are a few loads and stores. */

import { csrPrivilege } from '../../isa/csr.ts';
import { csrIndex, csrs } from '../../isa/csrs.ts';
import type { Decoded } from '../../isa/instruction.ts';
import { csrOffset } from '../state.ts';

/** Whether the interpreter always does this instruction. */
export function isNeverInline(decoded: Decoded): boolean {
  const { instruction, rm } = decoded;
  const { extension } = instruction;
  if (extension === 'Zicsr') return inlineCsr(decoded) === undefined;
  if (extension === 'Zicbom' || extension === 'Zawrs') return true;
  return usesFloat(decoded) && (rm === 5 || rm === 6) && instruction.encoding.fields.has('rm');
}

/** Whether the instruction takes float state for granted. */
export function usesFloat({ instruction, imm }: Decoded): boolean {
  const { extension } = instruction;
  return extension === 'F' || extension === 'D' || (extension === 'Zicsr' && imm >= 1 && imm <= 3);
}

/**
 * What a region needs of the float state before it begins: that FS is not Off, for instructions that only look at float registers (a function
 * that saves them); or that it is Dirty, and frm round-to-nearest-even, for those that write, round or raise flags.
 */
export type FloatNeeds = 'none' | 'on' | 'dirty';

const ONLY_LOOK = new Set(['fsw', 'fsd', 'fmv.x.w', 'fmv.x.d', 'fclass.s', 'fclass.d']);

export function floatNeeds(all: Iterable<Decoded>): FloatNeeds {
  let needs: FloatNeeds = 'none';
  for (const decoded of all) {
    if (!usesFloat(decoded)) continue;
    if (!ONLY_LOOK.has(decoded.instruction.name)) return 'dirty';
    needs = 'on';
  }
  return needs;
}

export type InlineCsr =
  /** fflags, or frm and fcsr only read. */
  | { readonly kind: 'float'; readonly name: string }
  /** A cell of its own, that nothing depends on at once. */
  | { readonly kind: 'stored'; readonly privilege: number; readonly offset: number; readonly writable: bigint }
  /** time, read. */
  | { readonly kind: 'time' }
  /** sstatus: read, or SIE or SUM set or cleared. */
  | { readonly kind: 'status'; readonly privilege: number; readonly mask: bigint };

/** sstatus.SIE. */
const SIE = 2;

/** How the CSR instruction is done inline, or undefined when it is not. */
export function inlineCsr({ instruction, imm, rs1 }: Decoded): InlineCsr | undefined {
  const csr = csrs[csrIndex(imm) ?? -1];
  if (csr === undefined) return undefined;
  const isWrite = instruction.name.startsWith('csrrw');
  const writes = isWrite || rs1 !== 0;
  if (csr.name === 'fflags' || (!writes && (csr.name === 'frm' || csr.name === 'fcsr')))
    return { kind: 'float', name: csr.name };
  if (csr.name === 'time' && !writes) return { kind: 'time' };
  const privilege = csrPrivilege(csr);
  if (csr.name === 'sstatus' && csr.source.kind === 'view') {
    // An immediate says which bit; what a register says is seen when it is executed.
    const isImmediate = instruction.name.endsWith('i');
    if (isWrite || (isImmediate && writes && rs1 !== SIE)) return undefined;
    return { kind: 'status', privilege, mask: csr.source.mask };
  }
  const isPlain =
    csr.source.kind === 'stored' && csr.effects.length === 0 && csr.fields.length === 0 && csr.guard === undefined;
  // A read-only number (bits 11:10) that is written is illegal.
  if (!isPlain || imm >> 10 === 3) return undefined;
  return { kind: 'stored', privilege, offset: csrOffset(imm), writable: csr.writable };
}
