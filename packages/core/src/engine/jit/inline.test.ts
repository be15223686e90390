import { describe, expect, test } from 'vitest';
import { assembleProgram } from '../../isa/assemble-program.ts';
import { decode } from '../../isa/decode.ts';
import type { Decoded } from '../../isa/instruction.ts';
import { defined } from '../../base/assert.ts';
import { csrs } from '../../isa/csrs.ts';
import { floatNeeds, inlineCsr, isNeverInline, usesFloat } from './inline.ts';

function decoded(text: string): Decoded {
  const { bytes } = assembleProgram(text, 0n);
  return defined(decode(new DataView(bytes.buffer).getUint32(0, true)), text);
}

const isInline = (text: string): boolean => !isNeverInline(decoded(text));

describe('inline', () => {
  test('CSRs that can be written are cells of their own, float flags, and nothing else', () => {
    const written = csrs.filter(({ name }) => isInline(`csrw ${name}, a0`)).map(({ name }) => name);
    const fine = [
      'fflags',
      'stvec',
      'scounteren',
      'sscratch',
      'sepc',
      'scause',
      'stval',
      'mscratch',
      'mepc',
      'mcause',
      'mtval',
    ];
    expect(written).toEqual(expect.arrayContaining(fine));
    // Each of these has to be looked at, by the interpreter's boundary or its translation.
    for (const name of [
      'satp',
      'sie',
      'sip',
      'mie',
      'mip',
      'mstatus',
      'sstatus',
      'frm',
      'fcsr',
      'stimecmp',
      'menvcfg',
      'pmpcfg0',
      'pmpaddr0',
      'cycle',
      'time',
    ])
      expect(written, name).not.toContain(name);
  });

  test.each([
    ['csrr a0, sstatus', true],
    ['csrsi sstatus, 2', true],
    ['csrci sstatus, 2', true],
    ['csrrci a0, sstatus, 2', true],
    ['csrs sstatus, a0', true],
    ['csrsi sstatus, 8', false],
    ['csrwi sstatus, 2', false],
    ['csrw sstatus, a0', false],
    ['csrr a0, frm', true],
    ['csrr a0, fcsr', true],
    ['csrwi frm, 1', false],
    ['csrsi fcsr, 1', false],
    ['csrwi fflags, 0', true],
    ['csrr a0, cycle', false],
    ['csrrw a0, time, a1', false],
    ['csrrs a0, time, a1', false],
    ['csrr a0, time', true],
    // A number whose bits 11:10 are set may only be read, and reading has no cell here.
    ['csrr a0, mvendorid', false],
  ])('%s: %s', (text, wanted) => {
    expect(isInline(text)).toBe(wanted);
  });

  test('a CSR instruction says whose it is, so that others leave', () => {
    expect(inlineCsr(decoded('csrr a0, sscratch'))).toMatchObject({ kind: 'stored', privilege: 1 });
    expect(inlineCsr(decoded('csrr a0, mscratch'))).toMatchObject({ kind: 'stored', privilege: 3 });
  });

  test('float state is taken for granted by float instructions and float CSRs alone', () => {
    for (const text of ['fadd.d fa0, fa0, fa1', 'fmv.x.d a0, fa0', 'csrr a0, fflags', 'csrr a0, frm', 'csrr a0, fcsr'])
      expect(usesFloat(decoded(text)), text).toBe(true);
    for (const text of ['add a0, a0, a1', 'csrr a0, sscratch', 'ld a0, 0(a1)'])
      expect(usesFloat(decoded(text)), text).toBe(false);
  });

  test('a region that only looks at float registers needs less than one that computes', () => {
    const needs = (...texts: string[]): string => floatNeeds(texts.map((text) => decoded(text)));
    expect(needs('add a0, a0, a1')).toBe('none');
    expect(needs('add a0, a0, a1', 'fsd fs0, 8(sp)', 'fmv.x.d a0, fa0')).toBe('on');
    for (const text of ['fld fs0, 8(sp)', 'feq.d a0, fa0, fa1', 'fmv.d.x fa0, a0', 'csrr a0, fflags'])
      expect(needs('fsd fs0, 8(sp)', text), text).toBe('dirty');
  });

  test("reserved rounding modes are the interpreter's, and a field that is no rounding mode is not one", () => {
    // fadd.d with rm = 5, fsgnj.d never has one, fclass.d has funct3 = 1.
    expect(isNeverInline(defined(decode(0x02b5_5553), 'fadd.d'))).toBe(true);
    expect(isInline('fadd.d fa0, fa0, fa1, rtz')).toBe(true);
    expect(isInline('fclass.d a0, fa0')).toBe(true);
  });

  test.each(['cbo.inval 0(a0)', 'cbo.clean 0(a0)', 'cbo.flush 0(a0)', 'wrs.nto'])("%s is the interpreter's", (text) => {
    expect(isInline(text)).toBe(false);
  });
});
