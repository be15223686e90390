/** Single-precision floating point, F (Unprivileged ISA, "F" Extension). What it shares with D is in floating-point.ts. */

import {
  type Precision,
  arithmetic,
  comparison,
  fusedMultiplyAdd,
  integerConversion,
  loadAndStore,
  signInjection,
} from './floating-point.ts';
import { type Instruction, instruction } from './instruction.ts';

const SIGN = -0x8000_0000;
const MAGNITUDE = 0x7fff_ffff;

const single: Precision<'s'> = {
  extension: 'F',
  format: 's',
  fmt: '00',
  noun: 'single',
  width: '010',
  sign: {
    copy: (a, b) => a.and(MAGNITUDE).or(b.and(SIGN)),
    negate: (a, b) => a.and(MAGNITUDE).or(b.xor(SIGN).and(SIGN)),
    multiply: (a, b) => a.xor(b.and(SIGN)),
  },
};

export const rv64f: readonly Instruction[] = [
  ...loadAndStore(
    single,
    'w',
    (e) => e.setF('s', e.load('i32', e.x('rs1').add(e.imm())).toI32()),
    (e) => e.store(4, e.x('rs1').add(e.imm()), e.fRaw('rs2')),
  ),
  ...fusedMultiplyAdd(single),
  ...arithmetic(single),
  ...signInjection(single),
  ...comparison(single),
  ...integerConversion(single),
  instruction(
    'F',
    'fmv.x.w',
    '1110000 00000 rs1 000 rd 1010011',
    'rd, frs1',
    "Moves a float register's low word to rd, sign-extended, bit for bit.",
    (e) => {
      e.requireFloat();
      e.setX(e.fRaw('rs1').extend32S());
    },
  ),
  instruction(
    'F',
    'fmv.w.x',
    '1111000 00000 rs1 000 rd 1010011',
    'frd, rs1',
    'Moves the low word of rs1 to a float register, bit for bit.',
    (e) => {
      e.requireFloat();
      e.setF('s', e.x('rs1').toI32());
    },
  ),
];
