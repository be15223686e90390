/**
 * The instructions that F and D have in common, once for both precisions (Unprivileged ISA, "F" and "D" Extensions). In the opcode the
 * two differ in the field fmt: 00 is single, 01 is double. Rounding, flags, canonical NaNs and NaN boxing are the emitter's.
 *
 * `rm=dyn` in a syntax is an optional operand: left out, the rounding mode is the one in frm. Conversions that are always exact have
 * `rm=rne`, which is what assemblers write for them.
 */

import type { Emitter, FloatBits, FloatFormat, IntegerFormat } from './emitter.ts';
import { type Extension, type Instruction, instruction } from './instruction.ts';

/** One precision: how its entries are named, encoded and spoken of. */
export interface Precision<F extends FloatFormat> {
  readonly extension: Extension;
  readonly format: F;
  readonly fmt: '00' | '01';
  readonly noun: string;
  /** funct3 of its loads and stores. */
  readonly width: string;
  /** Bit operations on the sign: rs1's magnitude with rs2's sign, the opposite of rs2's sign, or both signs' exclusive or. */
  readonly sign: Readonly<Record<'copy' | 'negate' | 'multiply', (a: FloatBits<F>, b: FloatBits<F>) => FloatBits<F>>>;
}

/** Integer formats in the order of the field that rs2 is used for, and those that a double always holds exactly. */
const integers: readonly (readonly [IntegerFormat, string, string])[] = [
  ['w', '00000', 'signed word'],
  ['wu', '00001', 'unsigned word'],
  ['l', '00010', 'signed doubleword'],
  ['lu', '00011', 'unsigned doubleword'],
];

export function arithmetic<F extends FloatFormat>(precision: Precision<F>): Instruction[] {
  const { extension, format, fmt, noun } = precision;
  const operation = (name: 'add' | 'sub' | 'mul' | 'div', funct5: string, summary: string): Instruction =>
    instruction(
      extension,
      `f${name}.${format}`,
      `${funct5} ${fmt} rs2 rs1 rm rd 1010011`,
      'frd, frs1, frs2, rm=dyn',
      summary,
      (e) => e.setF(format, e.floatArithmetic(name, format, e.f(format, 'rs1'), e.f(format, 'rs2'))),
    );
  return [
    operation('add', '00000', `Adds ${noun}s.`),
    operation('sub', '00001', `Subtracts ${noun}s.`),
    operation('mul', '00010', `Multiplies ${noun}s.`),
    operation('div', '00011', `Divides ${noun}s.`),
    instruction(
      extension,
      `fsqrt.${format}`,
      `01011 ${fmt} 00000 rs1 rm rd 1010011`,
      'frd, frs1, rm=dyn',
      `Square root of a ${noun}.`,
      (e) => e.setF(format, e.floatSqrt(format, e.f(format, 'rs1'))),
    ),
    ...(['min', 'max'] as const).map((name, index) =>
      instruction(
        extension,
        `f${name}.${format}`,
        `00101 ${fmt} rs2 rs1 00${index} rd 1010011`,
        'frd, frs1, frs2',
        `The ${name === 'min' ? 'lesser' : 'greater'} of two ${noun}s; a NaN loses against a number.`,
        (e) => e.setF(format, e.floatMinMax(name, format, e.f(format, 'rs1'), e.f(format, 'rs2'))),
      ),
    ),
  ];
}

export function fusedMultiplyAdd<F extends FloatFormat>({ extension, format, fmt, noun }: Precision<F>): Instruction[] {
  const operation = (
    name: string,
    opcode: string,
    formula: string,
    negateProduct: boolean,
    negateAddend: boolean,
  ): Instruction =>
    instruction(
      extension,
      `${name}.${format}`,
      `rs3 ${fmt} rs2 rs1 rm rd ${opcode}`,
      'frd, frs1, frs2, frs3, rm=dyn',
      `${formula} of ${noun}s, rounded once.`,
      (e) =>
        e.setF(
          format,
          e.floatFma(format, negateProduct, negateAddend, e.f(format, 'rs1'), e.f(format, 'rs2'), e.f(format, 'rs3')),
        ),
    );
  return [
    operation('fmadd', '1000011', '(rs1 * rs2) + rs3', false, false),
    operation('fmsub', '1000111', '(rs1 * rs2) - rs3', false, true),
    operation('fnmsub', '1001011', '-(rs1 * rs2) + rs3', true, false),
    operation('fnmadd', '1001111', '-(rs1 * rs2) - rs3', true, true),
  ];
}

/** Sign injection works on bits: no NaN is changed and no flag raised. */
export function signInjection<F extends FloatFormat>({ extension, format, fmt, sign }: Precision<F>): Instruction[] {
  const operation = (name: string, funct3: string, summary: string, kind: keyof typeof sign): Instruction =>
    instruction(
      extension,
      `${name}.${format}`,
      `00100 ${fmt} rs2 rs1 ${funct3} rd 1010011`,
      'frd, frs1, frs2',
      summary,
      (e) => e.setF(format, sign[kind](e.f(format, 'rs1'), e.f(format, 'rs2'))),
    );
  return [
    operation('fsgnj', '000', 'rs1 with the sign of rs2.', 'copy'),
    operation('fsgnjn', '001', 'rs1 with the opposite of the sign of rs2.', 'negate'),
    operation('fsgnjx', '010', 'rs1 with the exclusive or of both signs.', 'multiply'),
  ];
}

export function comparison<F extends FloatFormat>({ extension, format, fmt, noun }: Precision<F>): Instruction[] {
  const operation = (name: 'eq' | 'lt' | 'le', funct3: string, summary: string): Instruction =>
    instruction(
      extension,
      `f${name}.${format}`,
      `10100 ${fmt} rs2 rs1 ${funct3} rd 1010011`,
      'rd, frs1, frs2',
      summary,
      (e) => e.setX(e.floatCompare(name, format, e.f(format, 'rs1'), e.f(format, 'rs2'))),
    );
  return [
    operation('eq', '010', `Sets rd to 1 if two ${noun}s are equal; quiet with quiet NaNs.`),
    operation('lt', '001', `Sets rd to 1 if rs1 is less; any NaN is an invalid operation.`),
    operation('le', '000', `Sets rd to 1 if rs1 is less or equal; any NaN is an invalid operation.`),
    instruction(
      extension,
      `fclass.${format}`,
      `11100 ${fmt} 00000 rs1 001 rd 1010011`,
      'rd, frs1',
      `One bit of ten for what kind of ${noun} rs1 is.`,
      (e) => e.setX(e.floatClass(format, e.f(format, 'rs1'))),
    ),
  ];
}

export function integerConversion<F extends FloatFormat>({
  extension,
  format,
  fmt,
  noun,
}: Precision<F>): Instruction[] {
  const exact = (integer: IntegerFormat): boolean => format === 'd' && (integer === 'w' || integer === 'wu');
  return [
    ...integers.map(([integer, rs2, integerNoun]) =>
      instruction(
        extension,
        `fcvt.${integer}.${format}`,
        `11000 ${fmt} ${rs2} rs1 rm rd 1010011`,
        'rd, frs1, rm=dyn',
        `Converts a ${noun} to ${article(integerNoun)}.`,
        (e) => e.setX(e.floatToInteger(integer, format, e.f(format, 'rs1'))),
      ),
    ),
    ...integers.map(([integer, rs2, integerNoun]) =>
      instruction(
        extension,
        `fcvt.${format}.${integer}`,
        `11010 ${fmt} ${rs2} rs1 rm rd 1010011`,
        exact(integer) ? 'frd, rs1, rm=rne' : 'frd, rs1, rm=dyn',
        `Converts ${article(integerNoun)} to a ${noun}.`,
        (e) => {
          e.requireFloat();
          e.setF(format, e.integerToFloat(format, integer, e.x('rs1')));
        },
      ),
    ),
  ];
}

export function loadAndStore<F extends FloatFormat>(
  { extension, noun, width }: Precision<F>,
  suffix: 'w' | 'd',
  load: (e: Emitter) => void,
  store: (e: Emitter) => void,
): Instruction[] {
  return [
    instruction(
      extension,
      `fl${suffix}`,
      `imm[11:0] rs1 ${width} rd 0000111`,
      'frd, imm(rs1)',
      `Loads a ${noun}.`,
      (e) => {
        e.requireFloat();
        load(e);
      },
    ),
    instruction(
      extension,
      `fs${suffix}`,
      `imm[11:5] rs2 rs1 ${width} imm[4:0] 0100111`,
      'frs2, imm(rs1)',
      `Stores a ${noun}, bit for bit.`,
      (e) => {
        e.requireFloat();
        store(e);
      },
    ),
  ];
}

function article(noun: string): string {
  return `${noun.startsWith('u') ? 'an' : 'a'} ${noun}`;
}
