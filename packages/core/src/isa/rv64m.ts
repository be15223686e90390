/**
 * Integer multiplication and division, M (Unprivileged ISA, "M" Extension). Division never traps: by zero it gives all ones and leaves the
 * dividend as the remainder; the one signed overflow gives the dividend and remainder 0. WebAssembly traps on both, hence the guards.
 */

import type { Emitter, Value32, Value64 } from './emitter.ts';
import { type Instruction, instruction } from './instruction.ts';

type Meaning = (e: Emitter) => void;

function register(name: string, funct3: string, summary: string, meaning: Meaning): Instruction {
  return instruction('M', name, `0000001 rs2 rs1 ${funct3} rd 0110011`, 'rd, rs1, rs2', summary, meaning);
}

function registerWord(name: string, funct3: string, summary: string, meaning: Meaning): Instruction {
  return instruction('M', name, `0000001 rs2 rs1 ${funct3} rd 0111011`, 'rd, rs1, rs2', summary, meaning);
}

/** A division whose result for a divisor of zero is `byZero` and otherwise `compute`. */
function division(
  byZero: (dividend: Value64) => Value64 | bigint,
  compute: (e: Emitter, a: Value64, b: Value64) => void,
): Meaning {
  return (e) => {
    const dividend = e.let(e.x('rs1'));
    const divisor = e.let(e.x('rs2'));
    e.if(
      divisor.eqz(),
      () => {
        const result = byZero(dividend);
        e.setX(typeof result === 'bigint' ? e.constant(result) : result);
      },
      () => compute(e, dividend, divisor),
    );
  };
}

/** The same on the low words; results are sign-extended. */
function divisionWord(
  byZero: (dividend: Value32) => Value32 | number,
  compute: (e: Emitter, a: Value32, b: Value32) => void,
): Meaning {
  return (e) => {
    const dividend = e.let(e.x('rs1').toI32());
    const divisor = e.let(e.x('rs2').toI32());
    e.if(
      divisor.eqz(),
      () => {
        const result = byZero(dividend);
        e.setX(typeof result === 'number' ? e.constant(result) : result.toI64S());
      },
      () => compute(e, dividend, divisor),
    );
  };
}

/** Dividing by -1 is negation, which wraps where the division would overflow. */
function quotientSigned(e: Emitter, a: Value64, b: Value64): void {
  e.if(
    b.eq(-1n),
    () => e.setX(e.constant(0n).sub(a)),
    () => e.setX(a.divS(b)),
  );
}

function quotientSignedWord(e: Emitter, a: Value32, b: Value32): void {
  e.if(
    b.eq(-1),
    () => e.setX(e.constant32(0).sub(a).toI64S()),
    () => e.setX(a.divS(b).toI64S()),
  );
}

export const rv64m: readonly Instruction[] = [
  register('mul', '000', 'Multiplies; the lower 64 bits of the product.', (e) => e.setX(e.x('rs1').mul(e.x('rs2')))),
  register('mulh', '001', 'Multiplies, both signed; the upper 64 bits of the product.', (e) =>
    e.setX(e.multiplyHigh('ss', e.x('rs1'), e.x('rs2'))),
  ),
  register('mulhsu', '010', 'Multiplies signed rs1 by unsigned rs2; the upper 64 bits of the product.', (e) =>
    e.setX(e.multiplyHigh('su', e.x('rs1'), e.x('rs2'))),
  ),
  register('mulhu', '011', 'Multiplies, both unsigned; the upper 64 bits of the product.', (e) =>
    e.setX(e.multiplyHigh('uu', e.x('rs1'), e.x('rs2'))),
  ),
  register(
    'div',
    '100',
    'Divides, signed, rounding towards zero.',
    division(() => -1n, quotientSigned),
  ),
  register(
    'divu',
    '101',
    'Divides, unsigned.',
    division(
      () => -1n,
      (e, a, b) => e.setX(a.divU(b)),
    ),
  ),
  register(
    'rem',
    '110',
    'Remainder of the signed division, with the sign of the dividend.',
    division(
      (a) => a,
      (e, a, b) => e.setX(a.remS(b)),
    ),
  ),
  register(
    'remu',
    '111',
    'Remainder of the unsigned division.',
    division(
      (a) => a,
      (e, a, b) => e.setX(a.remU(b)),
    ),
  ),
  registerWord('mulw', '000', 'Multiplies words, sign-extending the result.', (e) =>
    e.setX(e.x('rs1').toI32().mul(e.x('rs2').toI32()).toI64S()),
  ),
  registerWord(
    'divw',
    '100',
    'Divides words, signed, rounding towards zero.',
    divisionWord(() => -1, quotientSignedWord),
  ),
  registerWord(
    'divuw',
    '101',
    'Divides words, unsigned, sign-extending the result.',
    divisionWord(
      () => -1,
      (e, a, b) => e.setX(a.divU(b).toI64S()),
    ),
  ),
  registerWord(
    'remw',
    '110',
    'Remainder of the signed division of words.',
    divisionWord(
      (a) => a,
      (e, a, b) => e.setX(a.remS(b).toI64S()),
    ),
  ),
  registerWord(
    'remuw',
    '111',
    'Remainder of the unsigned division of words, sign-extended.',
    divisionWord(
      (a) => a,
      (e, a, b) => e.setX(a.remU(b).toI64S()),
    ),
  ),
];
