/**
 * One instruction, described once. The interpreter, the JIT, the disassembler, the assembler and the reference page derive from this
 * entry; nothing else in the project knows an opcode.
 */

import { assert, defined } from '../base/assert.ts';
import type { Emitter } from './emitter.ts';
import { type Encoding, type Field, fieldValue, parseEncoding } from './encoding.ts';

export type Extension =
  | 'I'
  | 'M'
  | 'A'
  | 'F'
  | 'D'
  | 'C'
  | 'Zicsr'
  | 'Zifencei'
  | 'Zba'
  | 'Zbb'
  | 'Zbs'
  | 'Zicond'
  | 'Zicbom'
  | 'Zicboz'
  | 'Zawrs'
  | 'Zihintpause'
  | 'S'
  | 'Svinval';

/** Where control goes afterwards; absent means to the next instruction. `system` may change mode or translation. */
export type Flow = 'branch' | 'jump' | 'indirect' | 'system';

export interface Instruction {
  readonly name: string;
  readonly extension: Extension;
  readonly encoding: Encoding;
  /** Operands in assembly order, as in `rd, imm(rs1)`. Names are the encoding's fields; `f` before a register means a float register. */
  readonly syntax: string;
  /** One sentence for the reference page. */
  readonly summary: string;
  readonly flow?: Flow;
  /** What it does. Absent for a compressed form, which does what its expansion does. */
  readonly meaning?: (e: Emitter) => void;
  readonly expansion?: Expansion;
}

/** A compressed instruction as the full one it stands for; operands it has no field for are given here. */
export interface Expansion {
  readonly name: string;
  /** Operand of the full instruction -> field of the compressed one, or a fixed register or value. */
  readonly operands: Readonly<Record<string, string | number>>;
  /** Field values for which this encoding is something else (reserved, or another entry), e.g. `{ rd: [0, 2] }`. */
  readonly except?: Readonly<Record<string, readonly number[]>>;
}

/** An instruction word taken apart. Registers it does not have are 0. `imm` holds the CSR number of a CSR instruction. */
export interface Decoded {
  /** The full instruction (a compressed one's expansion). */
  readonly instruction: Instruction;
  /** What was written: the compressed entry, or the same as `instruction`. */
  readonly written: Instruction;
  readonly lengthBytes: 2 | 4;
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly rs3: number;
  readonly imm: number;
  readonly rm: number;
}

/** An entry of a full (32-bit) instruction. */
export function instruction(
  extension: Extension,
  name: string,
  encoding: string,
  syntax: string,
  summary: string,
  meaning: (e: Emitter) => void,
  flow?: Flow,
): Instruction {
  return { name, extension, encoding: parseEncoding(encoding), syntax, summary, meaning, ...(flow ? { flow } : {}) };
}

/** An entry of a compressed (16-bit) instruction. */
export function compressed(
  name: string,
  encoding: string,
  syntax: string,
  summary: string,
  expansion: Expansion,
): Instruction {
  const parsed = parseEncoding(encoding);
  assert(parsed.bits === 16, `${name} is not 16 bits wide`);
  return { name, extension: 'C', encoding: parsed, syntax, summary, expansion };
}

const immediateNames = ['imm', 'uimm', 'nzimm', 'nzuimm', 'csr'];

/** The field that is a full instruction's immediate (or CSR number), if it has one. */
export function immediateOf(entry: Instruction): Field | undefined {
  const { fields } = entry.encoding;
  return immediateNames.map((name) => fields.get(name)).find((field) => field !== undefined);
}

/** Takes a compressed instruction's word apart into the operands of its expansion `full`; undefined when this word is excepted. */
export function decodeCompressed(entry: Instruction, full: Instruction, word: number): Decoded | undefined {
  const expansion = defined(entry.expansion, `the expansion of ${entry.name}`);
  const { fields } = entry.encoding;
  for (const [name, values] of Object.entries(expansion.except ?? {})) {
    if (values.includes(valueOf(defined(fields.get(name), name), word))) return undefined;
  }
  const at = (operand: string): number => {
    const source = expansion.operands[operand];
    if (source === undefined) return 0;
    return typeof source === 'number' ? source : valueOf(defined(fields.get(source), `${entry.name} ${source}`), word);
  };
  return {
    instruction: full,
    written: entry,
    lengthBytes: 2,
    rd: at('rd'),
    rs1: at('rs1'),
    rs2: at('rs2'),
    rs3: 0,
    imm: at('imm'),
    rm: at('rm'),
  };
}

function valueOf(field: Field | undefined, word: number): number {
  return field === undefined ? 0 : fieldValue(field, word);
}
