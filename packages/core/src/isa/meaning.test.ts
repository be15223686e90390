import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { defined } from '../base/assert.ts';
import { instructionNamed, instructions } from './instructions.ts';
import { type Outcome, type Sources, evaluateMeaning } from './testing/evaluating-emitter.ts';

/** What the manuals say an instruction gives, written another way than the entries: a and b are unsigned, so is the result (mod 2^64). */
type Model = (a: bigint, b: bigint) => bigint;

const s64 = (value: bigint): bigint => BigInt.asIntN(64, value);
const s32 = (value: bigint): bigint => BigInt.asIntN(32, value);
const u32 = (value: bigint): bigint => BigInt.asUintN(32, value);
const bits = (value: bigint, width: number): string => BigInt.asUintN(width, value).toString(2).padStart(width, '0');
const fromBits = (text: string): bigint => BigInt(`0b${text}`);
const leading = (text: string): bigint => BigInt(/^0*/.exec(text)?.[0].length ?? 0);
const trailing = (text: string): bigint => BigInt(/0*$/.exec(text)?.[0].length ?? 0);
const set = (text: string): bigint => BigInt([...text].filter((bit) => bit === '1').length);
const rotated = (text: string, left: number): bigint => fromBits(text.slice(left) + text.slice(0, left));
const bytes = (value: bigint): string[] => bits(value, 64).match(/.{8}/g) ?? [];
const amount = (b: bigint, width: number): number => Number(b % BigInt(width));
const quotient = (a: bigint, b: bigint): bigint => (b === 0n ? -1n : a / b);
const remainder = (a: bigint, b: bigint): bigint => (b === 0n ? a : a % b);
const withBit = (a: bigint, b: bigint, change: (bit: string) => string): bigint => {
  const position = 63 - amount(b, 64);
  const text = bits(a, 64);
  return fromBits(text.slice(0, position) + change(text[position] ?? '') + text.slice(position + 1));
};

/** Register and immediate forms of one operation share a model; the second operand is rs2 or the immediate. */
const models: Readonly<Record<string, Model>> = {
  'add addi': (a, b) => a + b,
  sub: (a, b) => a - b,
  'sll slli': (a, b) => a * 2n ** (b % 64n),
  'srl srli': (a, b) => a / 2n ** (b % 64n),
  'sra srai': (a, b) =>
    fromBits((bits(a, 64)[0] ?? '').repeat(amount(b, 64)) + bits(a, 64).slice(0, 64 - amount(b, 64))),
  'slt slti': (a, b) => (s64(a) < s64(b) ? 1n : 0n),
  'sltu sltiu': (a, b) => (a < b ? 1n : 0n),
  'xor xori': (a, b) => a ^ b,
  'or ori': (a, b) => a | b,
  'and andi': (a, b) => a & b,
  'addw addiw': (a, b) => s32(a + b),
  subw: (a, b) => s32(a - b),
  'sllw slliw': (a, b) => s32(a << (b % 32n)),
  'srlw srliw': (a, b) => s32(u32(a) >> (b % 32n)),
  'sraw sraiw': (a, b) => s32(a) >> (b % 32n),
  mul: (a, b) => a * b,
  mulh: (a, b) => (s64(a) * s64(b)) >> 64n,
  mulhsu: (a, b) => (s64(a) * b) >> 64n,
  mulhu: (a, b) => (a * b) >> 64n,
  div: (a, b) => quotient(s64(a), s64(b)),
  divu: (a, b) => quotient(a, b),
  rem: (a, b) => remainder(s64(a), s64(b)),
  remu: (a, b) => remainder(a, b),
  mulw: (a, b) => s32(a * b),
  divw: (a, b) => s32(quotient(s32(a), s32(b))),
  divuw: (a, b) => s32(quotient(u32(a), u32(b))),
  remw: (a, b) => s32(remainder(s32(a), s32(b))),
  remuw: (a, b) => s32(remainder(u32(a), u32(b))),
  'czero.eqz': (a, b) => (b === 0n ? 0n : a),
  'czero.nez': (a, b) => (b === 0n ? a : 0n),
  'add.uw': (a, b) => u32(a) + b,
  sh1add: (a, b) => a * 2n + b,
  sh2add: (a, b) => a * 4n + b,
  sh3add: (a, b) => a * 8n + b,
  'sh1add.uw': (a, b) => u32(a) * 2n + b,
  'sh2add.uw': (a, b) => u32(a) * 4n + b,
  'sh3add.uw': (a, b) => u32(a) * 8n + b,
  'slli.uw': (a, b) => u32(a) << (b % 64n),
  andn: (a, b) => a & ~b,
  orn: (a, b) => a | ~b,
  xnor: (a, b) => ~(a ^ b),
  clz: (a) => leading(bits(a, 64)),
  ctz: (a) => trailing(bits(a, 64)),
  cpop: (a) => set(bits(a, 64)),
  clzw: (a) => leading(bits(a, 32)),
  ctzw: (a) => trailing(bits(a, 32)),
  cpopw: (a) => set(bits(a, 32)),
  max: (a, b) => (s64(a) > s64(b) ? a : b),
  maxu: (a, b) => (a > b ? a : b),
  min: (a, b) => (s64(a) < s64(b) ? a : b),
  minu: (a, b) => (a < b ? a : b),
  'sext.b': (a) => BigInt.asIntN(8, a),
  'sext.h': (a) => BigInt.asIntN(16, a),
  'zext.h': (a) => a % 0x1_0000n,
  rol: (a, b) => rotated(bits(a, 64), amount(b, 64)),
  'ror rori': (a, b) => rotated(bits(a, 64), (64 - amount(b, 64)) % 64),
  rolw: (a, b) => s32(rotated(bits(a, 32), amount(b, 32))),
  'rorw roriw': (a, b) => s32(rotated(bits(a, 32), (32 - amount(b, 32)) % 32)),
  'orc.b': (a) =>
    fromBits(
      bytes(a)
        .map((byte) => (byte.includes('1') ? '1' : '0').repeat(8))
        .join(''),
    ),
  rev8: (a) => fromBits(bytes(a).toReversed().join('')),
  'bclr bclri': (a, b) => withBit(a, b, () => '0'),
  'bset bseti': (a, b) => withBit(a, b, () => '1'),
  'binv binvi': (a, b) => withBit(a, b, (bit) => (bit === '0' ? '1' : '0')),
  'bext bexti': (a, b) => (a >> (b % 64n)) % 2n,
};

const cases = Object.entries(models).flatMap(([names, model]) =>
  names.split(' ').map((name) => [name, model] as const),
);

const edges = [
  0n,
  1n,
  2n,
  31n,
  32n,
  63n,
  64n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 32n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
];
const anyRegister = fc.oneof(fc.constantFrom(...edges), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));

function evaluate(name: string, sources: Sources): Outcome {
  return evaluateMeaning(defined(instructionNamed(name)?.meaning, name), sources);
}

test.each(cases)('%s gives what the manual says', (name, model) => {
  const immediate = instructionNamed(name)?.encoding.fields;
  const isImmediate = immediate?.has('imm') === true || immediate?.has('uimm') === true;
  fc.assert(
    fc.property(anyRegister, anyRegister, (rs1, b) => {
      const sources = isImmediate ? { rs1, imm: b } : { rs1, rs2: b };
      expect(evaluate(name, sources)).toEqual({ rd: BigInt.asUintN(64, model(rs1, b)), events: [] });
    }),
    { numRuns: 200 },
  );
});

test('every entry that only computes with integers has a model here', () => {
  const modelled = new Set(cases.map(([name]) => name));
  const without = instructions
    .filter(
      ({ extension, meaning, flow }) =>
        ['I', 'M', 'Zba', 'Zbb', 'Zbs', 'Zicond'].includes(extension) && meaning !== undefined && flow === undefined,
    )
    .map(({ name }) => name)
    .filter((name) => !modelled.has(name) && !/^(l[bhwd]u?|s[bhwd]|lui|auipc|fence.*)$/.test(name));
  expect(without).toEqual([]);
});

test('every meaning keeps the rules of the emitter, whatever the registers hold', () => {
  for (const { name, meaning } of instructions) {
    if (meaning === undefined) continue;
    for (const rs1 of edges) {
      for (const rs2 of edges)
        expect(() => evaluateMeaning(meaning, { rs1, rs2, rs3: rs2, imm: rs1 }), name).not.toThrow();
    }
  }
});

describe('the rules of the emitter', () => {
  test.each([
    [
      'a value is used twice',
      'used twice',
      (e) => {
        const a = e.x('rs1');
        e.setX(a.add(a));
      },
    ],
    [
      'a source is read after the destination is written',
      'read after',
      (e) => {
        e.setX(e.x('rs1'));
        e.setX(e.x('rs2'));
      },
    ],
    [
      'a load follows the write',
      'can trap',
      (e) => {
        e.setX(e.constant(1));
        e.load('u8', e.constant(0));
      },
    ],
    ['a division is not guarded', 'by zero', (e) => e.setX(e.x('rs1').divS(e.x('rs2')))],
  ] satisfies [string, string, Parameters<typeof evaluateMeaning>[0]][])(
    'are broken when %s',
    (_, message, meaning) => {
      expect(() => evaluateMeaning(meaning, {})).toThrow(message);
    },
  );
});

test('jumps leave the return address and go where the registers said before', () => {
  expect(evaluate('jal', { pc: 0x1000n, imm: 0x20n })).toEqual({ rd: 0x1004n, events: ['jump by 0x20'] });
  expect(evaluate('jalr', { pc: 0x1000n, rs1: 0x2001n, imm: 4n })).toEqual({ rd: 0x1004n, events: ['jump to 0x2004'] });
  expect(evaluate('bltu', { rs1: 1n, rs2: (1n << 64n) - 1n }).events).toEqual(['taken']);
  expect(evaluate('blt', { rs1: 1n, rs2: (1n << 64n) - 1n }).events).toEqual(['not taken']);
  expect(evaluate('auipc', { pc: 0x1000n, imm: -0x1000n }).rd).toBe(0n);
});

test('loads, stores and atomics name their kind, address and value', () => {
  expect(evaluate('lwu', { rs1: 0x1000n, imm: -4n }).events).toEqual(['load u32 0xffc']);
  expect(evaluate('sd', { rs1: 0x1000n, rs2: 7n, imm: 8n }).events).toEqual(['store 8 0x1008 0x7']);
  expect(evaluate('amomaxu.w', { rs1: 0x1000n, rs2: 7n }).events).toEqual(['atomic maxu 4 0x1000 0x7']);
  expect(evaluate('sc.d', { rs1: 0x1000n, rs2: 7n }).events).toEqual(['store conditional 8 0x1000 0x7']);
  expect(evaluate('flw', { rs1: 0x1000n, imm: 4n })).toEqual({
    rd: 0xffff_ffff_0000_0000n,
    events: ['require float', 'load i32 0x1004'],
  });
});

test('sign injection moves signs and nothing else', () => {
  const [one, minusTwo] = [0x3f80_0000n, 0xc000_0000n];
  const boxed = (single: bigint): bigint => single | (0xffff_ffffn << 32n);
  expect(evaluate('fsgnj.s', { rs1: one, rs2: minusTwo }).rd).toBe(boxed(0xbf80_0000n));
  expect(evaluate('fsgnjn.s', { rs1: one, rs2: minusTwo }).rd).toBe(boxed(one));
  expect(evaluate('fsgnjx.s', { rs1: minusTwo, rs2: minusTwo }).rd).toBe(boxed(0x4000_0000n));
  expect(evaluate('fsgnj.d', { rs1: 5n, rs2: 1n << 63n }).rd).toBe((1n << 63n) | 5n);
  expect(evaluate('fsgnjn.d', { rs1: 5n, rs2: 1n << 63n }).rd).toBe(5n);
  expect(evaluate('fsgnjx.d', { rs1: (1n << 63n) | 5n, rs2: 1n << 63n }).rd).toBe(5n);
});

test('fused multiply-add negates what its name says', () => {
  const sign = (name: string): string => evaluate(name, {}).events[0]?.slice(0, 2) ?? '';
  expect(['fmadd.s', 'fmsub.s', 'fnmsub.s', 'fnmadd.s'].map(sign)).toEqual(['++', '+-', '-+', '--']);
});
