/** Double-precision floating point, D (Unprivileged ISA, "D" Extension). What it shares with F is in floating-point.ts. */

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

const SIGN = -0x8000_0000_0000_0000n;
const MAGNITUDE = 0x7fff_ffff_ffff_ffffn;

const double: Precision<'d'> = {
  extension: 'D',
  format: 'd',
  fmt: '01',
  noun: 'double',
  width: '011',
  sign: {
    copy: (a, b) => a.and(MAGNITUDE).or(b.and(SIGN)),
    negate: (a, b) => a.and(MAGNITUDE).or(b.xor(SIGN).and(SIGN)),
    multiply: (a, b) => a.xor(b.and(SIGN)),
  },
};

export const rv64d: readonly Instruction[] = [
  ...loadAndStore(
    double,
    'd',
    (e) => e.setF('d', e.load('i64', e.x('rs1').add(e.imm()))),
    (e) => e.store(8, e.x('rs1').add(e.imm()), e.fRaw('rs2')),
  ),
  ...fusedMultiplyAdd(double),
  ...arithmetic(double),
  ...signInjection(double),
  instruction(
    'D',
    'fcvt.s.d',
    '0100000 00001 rs1 rm rd 1010011',
    'frd, frs1, rm=dyn',
    'Converts a double to a single.',
    (e) => e.setF('s', e.floatConvert('s', 'd', e.f('d', 'rs1'))),
  ),
  instruction(
    'D',
    'fcvt.d.s',
    '0100001 00000 rs1 rm rd 1010011',
    'frd, frs1, rm=rne',
    'Converts a single to a double.',
    (e) => e.setF('d', e.floatConvert('d', 's', e.f('s', 'rs1'))),
  ),
  ...comparison(double),
  ...integerConversion(double),
  instruction(
    'D',
    'fmv.x.d',
    '1110001 00000 rs1 000 rd 1010011',
    'rd, frs1',
    'Moves a float register to rd, bit for bit.',
    (e) => {
      e.requireFloat();
      e.setX(e.fRaw('rs1'));
    },
  ),
  instruction(
    'D',
    'fmv.d.x',
    '1111001 00000 rs1 000 rd 1010011',
    'frd, rs1',
    'Moves rs1 to a float register, bit for bit.',
    (e) => {
      e.requireFloat();
      e.setF('d', e.x('rs1'));
    },
  ),
];
