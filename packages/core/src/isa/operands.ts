/**
 * An entry's `syntax` as a list of operands, for the assembler and the disassembler alike:
 *
 *     rd, frs1, rs2'      a register; `f` before it means a float register
 *     x2                  that very register, which the encoding implies
 *     imm, uimm, nzimm    an immediate; how it is written follows from what it is for (see OperandKind)
 *     imm(rs1), (rs1)     an address: base register and offset
 *     csr, zimm, pred, succ
 *     rm=dyn              a rounding mode, left out when it is the one given here; only the last operand can be one
 */

import { assert, defined } from '../base/assert.ts';
import type { Field } from './encoding.ts';
import type { Instruction } from './instruction.ts';
import { instructionNamed } from './instructions.ts';
import type { RegisterFile } from './registers.ts';

export type Operand =
  | { readonly kind: 'register'; readonly file: RegisterFile; readonly field: Field }
  | { readonly kind: 'implied'; readonly register: number }
  /** An address in memory; without `offset` it is the base alone. */
  | { readonly kind: 'address'; readonly offset: Field | undefined; readonly base: Field | number }
  /** A plain number, decimal. */
  | { readonly kind: 'number'; readonly field: Field }
  /** A shift amount or bit number, hexadecimal. */
  | { readonly kind: 'amount'; readonly field: Field }
  /** Where a branch or jump goes: written as the address, encoded as the distance. */
  | { readonly kind: 'target'; readonly field: Field }
  /** Bits 31:12 of a value: written as the 20-bit number, hexadecimal. */
  | { readonly kind: 'upper'; readonly field: Field }
  | { readonly kind: 'csr'; readonly field: Field }
  /** Kinds of memory access: letters of `iorw`. */
  | { readonly kind: 'accesses'; readonly field: Field }
  | { readonly kind: 'rounding'; readonly field: Field; readonly whenAbsent: number };

/** Rounding modes by the value of rm; 5 and 6 are reserved and written as numbers. */
export const roundingModes: readonly (string | undefined)[] = [
  'rne',
  'rtz',
  'rdn',
  'rup',
  'rmm',
  undefined,
  undefined,
  'dyn',
];

const lists = new Map<Instruction, readonly Operand[]>();

/** The operands of `entry` in the order they are written. */
export function operandsOf(entry: Instruction): readonly Operand[] {
  let list = lists.get(entry);
  if (list === undefined) {
    list = entry.syntax === '' ? [] : entry.syntax.split(', ').map((text) => parseOperand(entry, text));
    lists.set(entry, list);
  }
  return list;
}

function parseOperand(entry: Instruction, text: string): Operand {
  const field = (name: string): Field => defined(entry.encoding.fields.get(name), `field ${name} of ${entry.name}`);
  const address = /^(.*)\((.+)\)$/.exec(text);
  if (address !== null) {
    const [, offset = '', base = ''] = address;
    return { kind: 'address', offset: offset === '' ? undefined : field(offset), base: implied(base) ?? field(base) };
  }
  const register = implied(text);
  if (register !== undefined) return { kind: 'implied', register };
  const [name = '', whenAbsent] = text.split('=');
  if (whenAbsent !== undefined) {
    assert(roundingModes.includes(whenAbsent), `${entry.name}: ${whenAbsent} is no rounding mode`);
    return { kind: 'rounding', field: field(name), whenAbsent: roundingModes.indexOf(whenAbsent) };
  }
  if (/^f?r/.test(name))
    return { kind: 'register', file: name.startsWith('f') ? 'f' : 'x', field: field(name.replace(/^f/, '')) };
  if (name === 'csr') return { kind: 'csr', field: field(name) };
  if (name === 'pred' || name === 'succ') return { kind: 'accesses', field: field(name) };
  return immediate(entry, field(name));
}

/** How an immediate is written follows from its instruction (a branch's is a target) and its lowest bit (12: the upper bits). */
function immediate(entry: Instruction, field: Field): Operand {
  const full =
    entry.expansion === undefined ? entry : defined(instructionNamed(entry.expansion.name), entry.expansion.name);
  if (full.flow === 'branch' || full.flow === 'jump') return { kind: 'target', field };
  if (lowestBit(field) === 12) return { kind: 'upper', field };
  return { kind: field.name === 'uimm' ? 'amount' : 'number', field };
}

function lowestBit(field: Field): number {
  return Math.min(...field.slices.map((slice) => slice.low));
}

function implied(text: string): number | undefined {
  return /^x\d+$/.test(text) ? Number(text.slice(1)) : undefined;
}
