/**
 * An instruction word as text. The form is that of GNU binutils' `objdump -M no-aliases,numeric`: no pseudo-instructions, register
 * numbers, branch targets as addresses; a test compares the two over every entry. What `decode` calls illegal is `.word` or `.half`.
 */

import { hex } from '../base/numbers.ts';
import { csrs } from './csrs.ts';
import { decode } from './decode.ts';
import { fieldValue } from './encoding.ts';
import type { Instruction } from './instruction.ts';
import { type Operand, operandsOf, roundingModes } from './operands.ts';
import { registerName } from './registers.ts';

export interface DisassemblyOptions {
  /** `x10` (the default) or `a0`. */
  readonly registers?: 'numeric' | 'abi';
}

const csrNames = new Map(csrs.map((csr) => [csr.number, csr.name]));

/** The text of the instruction `word` (as for `decode`) at `address`, e.g. `addi\tx1,x2,-4`. */
export function disassemble(word: number, address: bigint, options: DisassemblyOptions = {}): string {
  const decoded = decode(word);
  if (decoded === undefined) return (word & 3) === 3 ? `.word\t${hex(word, 8)}` : `.half\t${hex(word & 0xffff, 4)}`;
  const entry = decoded.written;
  const operands = operandsOf(entry)
    .map((operand) => operandText(operand, word, address, options.registers ?? 'numeric'))
    .filter((text) => text !== undefined);
  const mnemonic = entry.name + orderingSuffix(entry, word);
  return operands.length === 0 ? mnemonic : `${mnemonic}\t${operands.join(',')}`;
}

/** `.aq`, `.rl` or `.aqrl` of an atomic instruction. */
function orderingSuffix(entry: Instruction, word: number): string {
  const { fields } = entry.encoding;
  const bit = (name: string): string => {
    const field = fields.get(name);
    return field !== undefined && fieldValue(field, word) === 1 ? name : '';
  };
  const suffix = bit('aq') + bit('rl');
  return suffix === '' ? '' : `.${suffix}`;
}

/** Undefined when the operand is left out. */
function operandText(
  operand: Operand,
  word: number,
  address: bigint,
  registers: 'numeric' | 'abi',
): string | undefined {
  if (operand.kind === 'implied') return registerName('x', operand.register, registers);
  if (operand.kind === 'address') {
    const { base, offset } = operand;
    const register = registerName('x', typeof base === 'number' ? base : fieldValue(base, word), registers);
    return `${offset === undefined ? '' : fieldValue(offset, word)}(${register})`;
  }
  const value = fieldValue(operand.field, word);
  switch (operand.kind) {
    case 'register':
      return registerName(operand.file, value, registers);
    case 'number':
      return String(value);
    case 'amount':
      return hex(value);
    case 'target':
      return hex(BigInt.asUintN(64, address + BigInt(value)));
    case 'upper':
      return hex(value >>> 12);
    case 'csr':
      return csrNames.get(value) ?? hex(value);
    case 'accesses':
      return accessesText(value);
    case 'rounding':
      return value === operand.whenAbsent ? undefined : (roundingModes[value] ?? String(value));
  }
}

/** Bits 3:0 are the letters i, o, r, w; none is written 0. */
function accessesText(value: number): string {
  const letters = [...'iorw'].filter((_, index) => (value & (8 >> index)) !== 0).join('');
  return letters === '' ? '0' : letters;
}
