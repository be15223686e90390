/**
 * A program of assembly text to bytes, for tests. Two passes: the first lays every statement out and learns what the labels are, the
 * second writes. Nothing is relaxed or compressed on its own: `addi` is 32 bits, `c.addi` is 16.
 *
 *     start:  li   a0, 0x1234567890       # a comment
 *     1:      addi a0, a0, -1
 *             bnez a0, 1b
 *             .dword start, 42
 */

import { alignUp } from '../base/numbers.ts';
import { type Mnemonic, assembleOperands, mnemonicNamed, requireMnemonic, splitStatement } from './assemble.ts';
import { AssemblyError } from './assembly-error.ts';
import { type Scope, evaluate, unescape } from './expression.ts';
import { operandsOf } from './operands.ts';
import { expandPseudo, loadImmediate } from './pseudo-instructions.ts';

export interface AssembledProgram {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Labels and what .equ defined. */
  readonly symbols: ReadonlyMap<string, bigint>;
}

/** A program may not become larger than this. */
export const MAX_PROGRAM_BYTES = 64 * 1024 * 1024;

/** Something laid out at an offset; `bytes` is called when all symbols are known. */
interface Piece {
  readonly line: number;
  readonly offset: number;
  readonly write: (scope: Scope, view: DataView, offset: number) => void;
}

/** Directives that hold numbers, and the size of each in bytes. */
const dataSizes: Readonly<Record<string, 1 | 2 | 4 | 8>> = {
  '.byte': 1,
  '.half': 2,
  '.2byte': 2,
  '.word': 4,
  '.4byte': 4,
  '.dword': 8,
  '.8byte': 8,
  '.quad': 8,
};

/** Directives of other assemblers that mean nothing here. */
const ignored = new Set(['.text', '.globl', '.global', '.option']);

/** Assembles `text` to run at the address `base`; throws AssemblyError with the line. */
export function assembleProgram(text: string, base: bigint): AssembledProgram {
  const layout = new Layout(base);
  for (const [index, line] of text.split('\n').entries()) located(index + 1, () => layout.addLine(line, index + 1));
  const bytes = new Uint8Array(layout.size);
  const view = new DataView(bytes.buffer);
  for (const { line, offset, write } of layout.pieces) {
    located(line, () => write({ address: base + BigInt(offset), symbols: layout.symbols }, view, offset));
  }
  return { bytes, symbols: new Map([...layout.symbols].filter(([name]) => !name.includes('@'))) };
}

/** The first pass. */
class Layout {
  readonly symbols = new Map<string, bigint>();
  readonly pieces: Piece[] = [];
  size = 0;
  readonly #base: bigint;
  /** How often each numeric label has been seen: the third `1:` is the symbol `1@3`. */
  readonly #numericLabels = new Map<string, number>();

  constructor(base: bigint) {
    this.#base = base;
  }

  addLine(line: string, number: number): void {
    let rest = withoutComment(line);
    for (;;) {
      const [all, label] = /^\s*([A-Za-z_.$][\w.$]*|\d+)\s*:/.exec(rest) ?? [];
      if (all === undefined || label === undefined) break;
      this.#defineLabel(label);
      rest = rest.slice(all.length);
    }
    if (rest.trim() !== '') this.#addStatement(rest, number);
  }

  #defineLabel(label: string): void {
    if (!/^\d/.test(label)) {
      this.#define(label, this.#address());
      return;
    }
    const count = (this.#numericLabels.get(label) ?? 0) + 1;
    this.#numericLabels.set(label, count);
    this.#define(`${label}@${count}`, this.#address());
  }

  #define(name: string, value: bigint): void {
    if (this.symbols.has(name)) throw new AssemblyError('duplicate', `"${name}" is defined twice.`);
    this.symbols.set(name, value);
  }

  #addStatement(text: string, line: number): void {
    const [name, written] = splitStatement(text);
    if (name.startsWith('.')) {
      this.#addDirective(name, written, line);
      return;
    }
    const operands = written.map((operand) => this.#withNumericLabels(operand));
    const expansion = name === 'li' ? this.#loadImmediate(text, operands) : expansionOf(name, operands);
    if (expansion === undefined) {
      this.#addInstruction(text, requireMnemonic(name), operands, line);
      return;
    }
    for (const instruction of expansion) {
      const [real, itsOperands] = splitStatement(instruction);
      this.#addInstruction(text, requireMnemonic(real), itsOperands, line);
    }
  }

  #addInstruction(text: string, mnemonic: Mnemonic, operands: readonly string[], line: number): void {
    const size = mnemonic.entry.encoding.bits / 8;
    this.#reserve(size, line, (scope, view, offset) => {
      const word = assembleOperands(text, mnemonic, operands, scope);
      if (size === 2) view.setUint16(offset, word, true);
      else view.setUint32(offset, word, true);
    });
  }

  #loadImmediate(text: string, [register, value, ...more]: readonly string[]): string[] {
    if (register === undefined || value === undefined || more.length > 0)
      throw new AssemblyError('syntax', `"${text.trim()}" should be "li rd, value".`);
    return loadImmediate(register, this.#known(value));
  }

  #addDirective(name: string, operands: readonly string[], line: number): void {
    const size = dataSizes[name];
    if (size !== undefined) {
      for (const operand of operands) this.#addNumber(this.#withNumericLabels(operand), size, line);
    } else if (name === '.ascii' || name === '.asciz' || name === '.string') {
      for (const operand of operands) this.#addString(operand, name !== '.ascii', line);
    } else if (name === '.zero' || name === '.skip' || name === '.space') {
      this.#skip(this.#size(this.#only(name, operands)));
    } else if (name === '.balign') {
      this.#align(this.#size(this.#only(name, operands)));
    } else if (name === '.align' || name === '.p2align') {
      this.#align(2 ** this.#size(this.#only(name, operands)));
    } else if (name === '.equ' || name === '.set') {
      const [symbol, value, ...more] = operands;
      if (symbol === undefined || value === undefined || more.length > 0)
        throw new AssemblyError('syntax', `${name} should be "${name} name, value".`);
      this.#define(symbol, this.#known(value));
    } else if (!ignored.has(name)) {
      throw new AssemblyError('unknown', `There is no directive "${name}".`);
    }
  }

  #only(name: string, operands: readonly string[]): string {
    const [operand, ...more] = operands;
    if (operand === undefined || more.length > 0) throw new AssemblyError('syntax', `${name} takes one value.`);
    return operand;
  }

  #addNumber(text: string, size: 1 | 2 | 4 | 8, line: number): void {
    this.#reserve(size, line, (scope, view, offset) => {
      const value = evaluate(text, scope);
      const bits = BigInt(size * 8);
      if (value < -(1n << (bits - 1n)) || value >= 1n << bits)
        throw new AssemblyError('range', `${value} does not fit into ${bits} bits.`);
      for (let index = 0; index < size; index++)
        view.setUint8(offset + index, Number((value >> BigInt(8 * index)) & 0xffn));
    });
  }

  #addString(text: string, terminated: boolean, line: number): void {
    if (!/^"(?:[^"\\]|\\.)*"$/.test(text))
      throw new AssemblyError('syntax', `${text} should be a string in double quotes.`);
    const bytes = new TextEncoder().encode(unescape(text.slice(1, -1)) + (terminated ? '\0' : ''));
    this.#reserve(bytes.length, line, (_, view, offset) =>
      bytes.forEach((byte, index) => view.setUint8(offset + index, byte)),
    );
  }

  #align(unit: number): void {
    if (!Number.isInteger(Math.log2(unit)) || unit > MAX_PROGRAM_BYTES)
      throw new AssemblyError('range', `An alignment must be a power of two; ${unit} is not.`);
    this.#skip(alignUp(this.size, unit) - this.size);
  }

  #reserve(size: number, line: number, write: Piece['write']): void {
    this.pieces.push({ line, offset: this.size, write });
    this.#skip(size);
  }

  #skip(size: number): void {
    if (this.size + size > MAX_PROGRAM_BYTES)
      throw new AssemblyError('range', `The program is larger than ${MAX_PROGRAM_BYTES} bytes.`);
    this.size += size;
  }

  #address(): bigint {
    return this.#base + BigInt(this.size);
  }

  /** A value that decides how long something is: its symbols must have been defined by now. */
  #known(text: string): bigint {
    return evaluate(this.#withNumericLabels(text), { address: this.#address(), symbols: this.symbols });
  }

  #size(text: string): number {
    const value = this.#known(text);
    if (value < 0n || value > BigInt(MAX_PROGRAM_BYTES))
      throw new AssemblyError('range', `${value} is no possible size.`);
    return Number(value);
  }

  /** `1b` and `1f` as the symbols of the nearest `1:` before and after. */
  #withNumericLabels(text: string): string {
    return text.replace(/(?<![\w.$@])(\d+)([bf])(?![\w.$])/g, (_, label: string, direction: string) => {
      const seen = this.#numericLabels.get(label) ?? 0;
      return `${label}@${direction === 'b' ? seen : seen + 1}`;
    });
  }
}

/** A name that is both (`jal`, `jalr`, `fence`, `sfence.vma`) is the instruction when it has the instruction's number of operands. */
function expansionOf(name: string, operands: readonly string[]): readonly string[] | undefined {
  const mnemonic = mnemonicNamed(name);
  if (mnemonic !== undefined && operandsOf(mnemonic.entry).length === operands.length) return undefined;
  return expandPseudo(name, operands);
}

function withoutComment(line: string): string {
  return /^(?:[^"'#/]|"(?:[^"\\]|\\.)*"|'\\?.'|\/(?!\/))*/.exec(line)?.[0] ?? '';
}

function located<T>(line: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof AssemblyError ? error.onLine(line) : error;
  }
}
