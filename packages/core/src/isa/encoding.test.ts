import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { type Field, fieldValue, parseEncoding, withField } from './encoding.ts';
import { instructions } from './instructions.ts';

const fields = instructions.flatMap((entry) =>
  [...entry.encoding.fields.values()].map((field) => ({ title: `${entry.name} ${field.name}`, entry, field })),
);

/** The bits of a word that belong to a field. */
function bitsOf(field: Field): number {
  return field.slices.reduce((bits, { at, width }) => bits | (((1 << width) - 1) << at), 0) >>> 0;
}

describe('an encoding', () => {
  test('has a mask and a match from its fixed bits, and fields from the rest', () => {
    const addi = parseEncoding('imm[11:0] rs1 000 rd 0010011');
    expect(addi.bits).toBe(32);
    expect(addi.mask).toBe(0x707f);
    expect(addi.match).toBe(0x13);
    expect([...addi.fields.keys()]).toEqual(['imm', 'rs1', 'rd']);
  });

  test('puts the scattered bits of an immediate together, sign-extended', () => {
    const { fields: of } = parseEncoding('imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011');
    const imm = of.get('imm');
    expect(imm && fieldValue(imm, 0xfe0510e3)).toBe(-32);
  });

  test('gives three-bit registers as x8 to x15', () => {
    const { fields: of } = parseEncoding("010 uimm[5:3] rs1' uimm[2|6] rd' 00");
    const rd = of.get("rd'");
    expect(rd && fieldValue(rd, 0x4000)).toBe(8);
    expect(rd && withField(rd, 0x4000, 15)).toBe(0x401c);
    expect(rd && withField(rd, 0x4000, 7)).toBeUndefined();
    expect(rd && withField(rd, 0x4000, 16)).toBeUndefined();
  });

  test('must have 16 or 32 bits', () => {
    expect(() => parseEncoding('imm[11:0] rs1 000 rd 001001')).toThrow('31 bits');
  });
});

test('every field of every entry takes every value it can give, and touches no other bit', () => {
  for (const { title, entry, field } of fields) {
    const places = bitsOf(field);
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), (random) => {
        const word = (entry.encoding.match | (random & places)) >>> 0;
        expect(withField(field, entry.encoding.match, fieldValue(field, word)), title).toBe(word);
        expect((word & ~places) >>> 0, title).toBe(entry.encoding.match);
      }),
      { numRuns: 30 },
    );
  }
});

test('every field of every entry refuses values beyond its ends and between its steps', () => {
  for (const { title, entry, field } of fields) {
    const step = 2 ** Math.min(...field.slices.map(({ low }) => low));
    const offset = field.name.endsWith("'") ? 8 : 0;
    const least = field.signed ? -(2 ** (field.width - 1)) : offset;
    const most = field.signed ? 2 ** (field.width - 1) - step : offset + 2 ** field.width - step;
    const put = (value: number): number | undefined => withField(field, entry.encoding.match, value);
    expect(put(least), title).toBeDefined();
    expect(put(most), title).toBeDefined();
    expect(put(least - step), title).toBeUndefined();
    expect(put(most + step), title).toBeUndefined();
    expect(put(least + 0.5), title).toBeUndefined();
    if (step > 1) expect(put(least + 1), title).toBeUndefined();
  }
});

test('the fields and fixed bits of every entry cover its word exactly once', () => {
  for (const { name, encoding } of instructions) {
    let covered = encoding.mask;
    for (const field of encoding.fields.values()) {
      for (const { at, width } of field.slices) {
        const bits = (((1 << width) - 1) << at) >>> 0;
        expect(covered & bits, `${name} ${field.name}`).toBe(0);
        covered = (covered | bits) >>> 0;
      }
    }
    expect(covered, name).toBe(encoding.bits === 32 ? 0xffff_ffff : 0xffff);
  }
});
