/**
 * One instruction of assembly text to its word, from the entries. The form is that of `disassemble`; registers may have their ABI names,
 * and values may be expressions. Pseudo-instructions and programs are assemble-program.ts's.
 */

import { AssemblyError } from './assembly-error.ts';
import { csrs } from './csrs.ts';
import { encode } from './encode.ts';
import { type Scope, evaluate } from './expression.ts';
import type { Instruction } from './instruction.ts';
import { instructionNamed } from './instructions.ts';
import { type Operand, operandsOf, roundingModes } from './operands.ts';
import { type RegisterFile, registerNumber } from './registers.ts';

const csrNumbers = new Map(csrs.map((csr) => [csr.name, csr.number]));

/** A mnemonic as written: the entry, and the ordering bits that its suffix stands for. */
export interface Mnemonic {
  readonly entry: Instruction;
  readonly ordering: Readonly<Record<string, number>>;
}

/** The word of the instruction `text`, e.g. `addi x1, x2, -4`; throws AssemblyError. Below 2^16 it is a 16-bit instruction. */
export function assemble(text: string, address = 0n): number {
  const [mnemonic, operands] = splitStatement(text);
  return assembleOperands(text, requireMnemonic(mnemonic), operands, { address, symbols: new Map() });
}

/** The mnemonic and the operands of a statement; operands are separated by commas outside quotes. */
export function splitStatement(text: string): [string, string[]] {
  const [, mnemonic = '', rest = ''] = /^\s*(\S+)\s*(.*?)\s*$/s.exec(text) ?? [];
  const operand = /((?:'\\?.'|"(?:[^"\\]|\\.)*"|[^,"'])*)(,|$)/y;
  const operands: string[] = [];
  for (let more = rest !== ''; more;) {
    const match = operand.exec(rest);
    if (match === null) throw new AssemblyError('syntax', `"${text.trim()}" has a quote that is not closed.`);
    operands.push((match[1] ?? '').trim());
    more = match[2] === ',';
  }
  return [mnemonic, operands];
}

/** Undefined when no instruction is called that. */
export function mnemonicNamed(text: string): Mnemonic | undefined {
  const plain = instructionNamed(text);
  if (plain !== undefined) return { entry: plain, ordering: {} };
  const [, name = '', suffix = ''] = /^(.*)\.(aq|rl|aqrl)$/.exec(text) ?? [];
  const entry = instructionNamed(name);
  if (entry === undefined || !entry.encoding.fields.has('aq')) return undefined;
  return { entry, ordering: { aq: suffix.includes('aq') ? 1 : 0, rl: suffix.includes('rl') ? 1 : 0 } };
}

export function requireMnemonic(text: string): Mnemonic {
  if (text === '') throw new AssemblyError('syntax', 'An instruction is missing.');
  const mnemonic = mnemonicNamed(text);
  if (mnemonic === undefined) throw new AssemblyError('unknown', `There is no instruction "${text}".`);
  return mnemonic;
}

/** The word of an instruction whose text is already taken apart; `text` is for the sentence of a failure. */
export function assembleOperands(
  text: string,
  { entry, ordering }: Mnemonic,
  written: readonly string[],
  scope: Scope,
): number {
  const operands = operandsOf(entry);
  const optional = operands.at(-1)?.kind === 'rounding' ? 1 : 0;
  if (written.length > operands.length || written.length < operands.length - optional) {
    throw new AssemblyError('syntax', `"${text.trim()}" should be "${[entry.name, entry.syntax].join(' ').trim()}".`);
  }
  const values: Record<string, number> = { ...ordering };
  for (const [index, operand] of operands.entries()) readOperand(operand, written[index], scope, values);
  const word = encode(entry, values);
  if (typeof word !== 'number') throw new AssemblyError('range', `"${text.trim()}": ${word.refused}.`);
  return word;
}

/** Puts what `text` says into `values`, by field. */
function readOperand(operand: Operand, text: string | undefined, scope: Scope, values: Record<string, number>): void {
  if (text === undefined) {
    if (operand.kind === 'rounding') values[operand.field.name] = operand.whenAbsent;
    return;
  }
  if (operand.kind === 'implied') {
    if (register('x', text) !== operand.register)
      throw new AssemblyError('range', `"${text}" must be x${operand.register} here.`);
    return;
  }
  if (operand.kind === 'address') {
    readAddress(operand, text, scope, values);
    return;
  }
  values[operand.field.name] = fieldNumber(operand, text, scope);
}

function readAddress(
  { offset, base }: Operand & { kind: 'address' },
  text: string,
  scope: Scope,
  values: Record<string, number>,
): void {
  const [, written, name] = /^(.*)\(\s*(\w+)\s*\)$/s.exec(text) ?? [];
  if (written === undefined || name === undefined)
    throw new AssemblyError('syntax', `"${text}" should be an address such as 8(x2).`);
  const value = written.trim() === '' ? 0 : integer(written, scope);
  if (offset !== undefined) values[offset.name] = value;
  else if (value !== 0) throw new AssemblyError('range', `"${text}": this instruction's address has no offset.`);
  const number = register('x', name);
  if (typeof base !== 'number') values[base.name] = number;
  else if (number !== base) throw new AssemblyError('range', `"${text}": the base must be x${base} here.`);
}

function fieldNumber(operand: Exclude<Operand, { kind: 'implied' | 'address' }>, text: string, scope: Scope): number {
  switch (operand.kind) {
    case 'register':
      return register(operand.file, text);
    case 'number':
    case 'amount':
      return integer(text, scope);
    case 'target':
      return distance(text, scope);
    case 'upper':
      return upper(text, scope);
    case 'csr':
      return csrNumbers.get(text) ?? integer(text, scope);
    case 'accesses':
      return accesses(text);
    case 'rounding': {
      const mode = text === '5' || text === '6' ? Number(text) : roundingModes.indexOf(text);
      if (mode < 0)
        throw new AssemblyError('unknown', `"${text}" is no rounding mode: rne, rtz, rdn, rup, rmm and dyn are.`);
      return mode;
    }
  }
}

function register(file: RegisterFile, text: string): number {
  const number = registerNumber(file, text);
  if (number === undefined)
    throw new AssemblyError('unknown', `"${text}" is no ${file === 'x' ? 'integer' : 'float'} register.`);
  return number;
}

/** A value as the number a field takes; a 64-bit pattern counts as the signed number it stands for. */
function integer(text: string, scope: Scope): number {
  const value = evaluate(text, scope);
  return Number(value >> 63n === 1n ? BigInt.asIntN(64, value) : value);
}

/** From the statement to the address `text` in the circle of 2^64 addresses. */
function distance(text: string, scope: Scope): number {
  return Number(BigInt.asIntN(64, evaluate(text, scope) - scope.address));
}

/** The value whose bits 31:12 are `text`: 0 to 0xfffff, or negative. */
function upper(text: string, scope: Scope): number {
  const value = integer(text, scope);
  if (value < -0x80000 || value > 0xfffff) throw new AssemblyError('range', `"${text}" does not fit into 20 bits.`);
  return value << 12;
}

function accesses(text: string): number {
  if (text === '0') return 0;
  if (!/^i?o?r?w?$/.test(text) || text === '')
    throw new AssemblyError('syntax', `"${text}" should be letters of "iorw" in this order, or 0.`);
  return [...text].reduce((value, letter) => value | (8 >> 'iorw'.indexOf(letter)), 0);
}
