/**
 * Atomic memory operations, A: Zalrsc and Zaamo (Unprivileged ISA, "A" Extension), and waiting on a reservation, Zawrs ("Zawrs" Extension).
 * The ordering bits aq and rl are written `.aq`, `.rl` or `.aqrl` after the mnemonic; an engine may order more strongly than asked.
 */

import type { AtomicKind, Emitter } from './emitter.ts';
import { type Instruction, instruction } from './instruction.ts';

interface Width {
  readonly suffix: 'w' | 'd';
  readonly funct3: string;
  readonly bytes: 4 | 8;
  readonly noun: string;
}

const widths: readonly Width[] = [
  { suffix: 'w', funct3: '010', bytes: 4, noun: 'word' },
  { suffix: 'd', funct3: '011', bytes: 8, noun: 'doubleword' },
];

/** Mnemonic, funct5, kind, and what the sentence says is stored. */
const operations: readonly (readonly [string, string, AtomicKind, string])[] = [
  ['amoswap', '00001', 'swap', 'rs2'],
  ['amoadd', '00000', 'add', 'its sum with rs2'],
  ['amoxor', '00100', 'xor', 'its exclusive or with rs2'],
  ['amoand', '01100', 'and', 'its and with rs2'],
  ['amoor', '01000', 'or', 'its or with rs2'],
  ['amomin', '10000', 'min', 'the lesser of it and rs2, signed,'],
  ['amomax', '10100', 'max', 'the greater of it and rs2, signed,'],
  ['amominu', '11000', 'minu', 'the lesser of it and rs2, unsigned,'],
  ['amomaxu', '11100', 'maxu', 'the greater of it and rs2, unsigned,'],
];

function loadReserved({ suffix, funct3, bytes, noun }: Width): Instruction {
  return instruction(
    'A',
    `lr.${suffix}`,
    `00010 aq rl 00000 rs1 ${funct3} rd 0101111`,
    'rd, (rs1)',
    `Loads a ${noun} and reserves the bytes around it.`,
    (e) => e.setX(e.loadReserved(bytes, e.x('rs1'))),
  );
}

function storeConditional({ suffix, funct3, bytes, noun }: Width): Instruction {
  return instruction(
    'A',
    `sc.${suffix}`,
    `00011 aq rl rs2 rs1 ${funct3} rd 0101111`,
    'rd, rs2, (rs1)',
    `Stores a ${noun} if the reservation still holds; rd is 0 then, else 1.`,
    (e) => e.setX(e.storeConditional(bytes, e.x('rs1'), e.x('rs2'))),
  );
}

function memoryOperation(
  { suffix, funct3, bytes, noun }: Width,
  name: string,
  funct5: string,
  kind: AtomicKind,
  stored: string,
): Instruction {
  return instruction(
    'A',
    `${name}.${suffix}`,
    `${funct5} aq rl rs2 rs1 ${funct3} rd 0101111`,
    'rd, rs2, (rs1)',
    `Loads a ${noun} and stores ${stored} in its place, atomically.`,
    (e: Emitter) => e.setX(e.atomic(kind, bytes, e.x('rs1'), e.x('rs2'))),
  );
}

export const rv64a: readonly Instruction[] = [
  ...widths.flatMap((width) => [
    loadReserved(width),
    storeConditional(width),
    ...operations.map((operation) => memoryOperation(width, ...operation)),
  ]),
  instruction(
    'Zawrs',
    'wrs.nto',
    '000000001101 00000 000 00000 1110011',
    '',
    'Waits until the reservation is lost.',
    (e) => e.system('wrs.nto'),
    'system',
  ),
  instruction(
    'Zawrs',
    'wrs.sto',
    '000000011101 00000 000 00000 1110011',
    '',
    'Waits until the reservation is lost, for a short time.',
    (e) => e.system('wrs.sto'),
    'system',
  ),
];
