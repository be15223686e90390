/**
 * Encodings in the manuals' own notation: the fields of an instruction from its most significant bit to its least,
 *
 *     imm[11:0] rs1 000 rd 0010011            addi
 *     imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011    beq
 *     010 uimm[5:3] rs1' uimm[2|6] rd' 00     c.lw   (16 bits; a quote marks the three-bit registers x8..x15)
 *
 * From one such line come the mask and match that recognise the instruction, and the functions that take its operands out and put
 * them in. Bits written 0 or 1 are fixed; every other name is a field of the width its register or its bit list has.
 */

import { assert, defined } from '../base/assert.ts';

/** Fields that hold something other than immediate bits, with their widths. */
const fieldWidths: Readonly<Record<string, number>> = {
  rd: 5,
  rs1: 5,
  rs2: 5,
  rs3: 5,
  "rd'": 3,
  "rs1'": 3,
  "rs2'": 3,
  rm: 3,
  csr: 12,
  zimm: 5,
  aq: 1,
  rl: 1,
  fm: 4,
  pred: 4,
  succ: 4,
};

/** A run of immediate bits: `width` bits at `at` in the instruction are bits `low` and up of the immediate. */
interface Slice {
  readonly at: number;
  readonly width: number;
  readonly low: number;
}

/** An operand's place: one slice for a register, several for a scattered immediate. */
export interface Field {
  readonly name: string;
  readonly slices: readonly Slice[];
  /** Sign-extended from its highest bit (names that begin `imm`; `uimm` and the rest are not). */
  readonly signed: boolean;
  /** One more than the highest bit of the value. */
  readonly width: number;
}

export interface Encoding {
  readonly text: string;
  /** Bits: 16 or 32. */
  readonly bits: 16 | 32;
  /** An instruction word is this one when (word & mask) === match, both unsigned. */
  readonly mask: number;
  readonly match: number;
  readonly fields: ReadonlyMap<string, Field>;
}

/** Reads the notation above. */
export function parseEncoding(text: string): Encoding {
  const tokens = text.trim().split(/\s+/);
  const total = tokens.reduce((sum, token) => sum + tokenWidth(token), 0);
  assert(total === 32 || total === 16, `encoding "${text}" has ${total} bits`);
  let mask = 0;
  let match = 0;
  let position = total;
  const fields = new Map<string, Slice[]>();
  for (const token of tokens) {
    const width = tokenWidth(token);
    position -= width;
    if (/^[01]+$/.test(token)) {
      mask |= ones(width) << position;
      match |= Number.parseInt(token, 2) << position;
      continue;
    }
    const [name, bits] = splitToken(token);
    const slices = fields.get(name) ?? [];
    fields.set(name, slices);
    let at = position + width;
    for (const [high, low] of bits ?? [[width - 1, 0] as const]) {
      at -= high - low + 1;
      slices.push({ at, width: high - low + 1, low });
    }
  }
  return {
    text,
    bits: total,
    mask: mask >>> 0,
    match: match >>> 0,
    fields: new Map([...fields].map(([name, slices]) => [name, makeField(name, slices)])),
  };
}

/** The operand's value in `word`. Three-bit registers give 8..15. */
export function fieldValue(field: Field, word: number): number {
  let value = 0;
  for (const { at, width, low } of field.slices) value |= ((word >>> at) & ones(width)) << low;
  if (field.signed) return (value << (32 - field.width)) >> (32 - field.width);
  return field.name.endsWith("'") ? value + 8 : value;
}

/** `word` with the operand put in; undefined when the value does not fit (range, or low bits the encoding has no room for). */
export function withField(field: Field, word: number, value: number): number | undefined {
  const raw = field.name.endsWith("'") ? value - 8 : value;
  let result = word;
  for (const { at, width, low } of field.slices) result |= ((raw >> low) & ones(width)) << at;
  return fieldValue(field, result) === value ? result >>> 0 : undefined;
}

function makeField(name: string, slices: readonly Slice[]): Field {
  const width = Math.max(...slices.map((slice) => slice.low + slice.width));
  return { name, slices, signed: name.startsWith('imm') || name.startsWith('nzimm'), width };
}

function tokenWidth(token: string): number {
  if (/^[01]+$/.test(token)) return token.length;
  const [name, bits] = splitToken(token);
  if (bits === undefined) return defined(fieldWidths[name], `the width of field ${name}`);
  return bits.reduce((sum, [high, low]) => sum + high - low + 1, 0);
}

/** `imm[12|10:5]` as its name and its bit ranges, high to low. */
function splitToken(token: string): [string, (readonly [number, number])[] | undefined] {
  const open = token.indexOf('[');
  if (open < 0) return [token, undefined];
  const ranges = token
    .slice(open + 1, -1)
    .split('|')
    .map((range) => {
      const [high, low] = range.split(':').map(Number);
      return [defined(high, 'a bit'), low ?? defined(high, 'a bit')] as const;
    });
  return [token.slice(0, open), ranges];
}

function ones(width: number): number {
  return width === 32 ? -1 : (1 << width) - 1;
}
