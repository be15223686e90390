/**
 * The emitter as a calculator: a meaning runs at once, on bigints, with the registers it is given. It holds meanings to the emitter's
 * rules: a value is used once unless `let`, sources are read before the destination is written, what can trap comes before that, and
 * divisions that WebAssembly traps on do not happen. Operations that only an engine can do give zero and are noted in `events`.
 */

import type { Emitter, Value32, Value64 } from '../emitter.ts';

type Width = 32 | 64;
type Compute = (a: bigint, b: bigint, width: Width) => bigint;

const signed = (value: bigint, width: Width): bigint => BigInt.asIntN(width, value);
const unsigned = (value: bigint, width: Width): bigint => BigInt.asUintN(width, value);
const bool = (condition: boolean): bigint => (condition ? 1n : 0n);

function leadingZeros(value: bigint, width: Width): bigint {
  return value === 0n ? BigInt(width) : BigInt(width - value.toString(2).length);
}

/** Operations of which the result has the width of the operands; both are unsigned. */
const sameWidth: Readonly<Record<string, Compute>> = {
  clz: (a, _, width) => leadingZeros(a, width),
  ctz: (a, _, width) => (a === 0n ? BigInt(width) : BigInt((a & -a).toString(2).length - 1)),
  popcnt: (a) => BigInt(a.toString(2).replaceAll('0', '').length),
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  divS: (a, b, width) => {
    if (signed(b, width) === -1n && a === 1n << BigInt(width - 1))
      throw new Error('WebAssembly traps on this division: it overflows');
    return signed(a, width) / nonZero(signed(b, width));
  },
  divU: (a, b) => a / nonZero(b),
  remS: (a, b, width) => signed(a, width) % nonZero(signed(b, width)),
  remU: (a, b) => a % nonZero(b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b, width) => a << (b % BigInt(width)),
  shrS: (a, b, width) => signed(a, width) >> (b % BigInt(width)),
  shrU: (a, b, width) => a >> (b % BigInt(width)),
  rotl: (a, b, width) => (a << (b % BigInt(width))) | (a >> ((BigInt(width) - (b % BigInt(width))) % BigInt(width))),
  rotr: (a, b, width) => (a >> (b % BigInt(width))) | (a << ((BigInt(width) - (b % BigInt(width))) % BigInt(width))),
  extend8S: (a) => BigInt.asIntN(8, a),
  extend16S: (a) => BigInt.asIntN(16, a),
  extend32S: (a) => BigInt.asIntN(32, a),
};

const comparisons: Readonly<Record<string, Compute>> = {
  eqz: (a) => bool(a === 0n),
  eq: (a, b) => bool(a === b),
  ne: (a, b) => bool(a !== b),
  ltS: (a, b, width) => bool(signed(a, width) < signed(b, width)),
  ltU: (a, b) => bool(a < b),
  geS: (a, b, width) => bool(signed(a, width) >= signed(b, width)),
  geU: (a, b) => bool(a >= b),
};

/** A computed value: 32 or 64 unsigned bits, to be taken once. */
class Computed {
  readonly width: Width;
  readonly #bits: bigint;
  readonly #shared: boolean;
  #taken = false;

  constructor(width: Width, bits: bigint, shared = false) {
    this.width = width;
    this.#bits = unsigned(bits, width);
    this.#shared = shared;
  }

  take(): bigint {
    if (this.#taken && !this.#shared) throw new Error('a value is used twice without let');
    this.#taken = true;
    return this.#bits;
  }

  toI32(): Computed {
    return new Computed(32, this.take());
  }

  toI64S(): Computed {
    return new Computed(64, signed(this.take(), 32));
  }

  toI64U(): Computed {
    return new Computed(64, this.take());
  }
}

type Operand = Computed | bigint | number;
const methods = Computed.prototype as unknown as Record<string, (this: Computed, b?: Operand) => Computed>;
for (const [operations, result] of [
  [sameWidth, undefined],
  [comparisons, 32],
] as const) {
  for (const [name, compute] of Object.entries(operations)) {
    methods[name] = function (b = 0n) {
      const right = b instanceof Computed ? b.take() : BigInt(b);
      if (b instanceof Computed && b.width !== this.width)
        throw new Error(`${name} of ${this.width} and ${b.width} bits`);
      return new Computed(result ?? this.width, compute(this.take(), unsigned(right, this.width), this.width));
    };
  }
}

function nonZero(value: bigint): bigint {
  if (value === 0n) throw new Error('WebAssembly traps on this division: it is by zero');
  return value;
}

const take = (value: Value32 | Value64): bigint => (value as unknown as Computed).take();
const value64 = (bits: bigint): Value64 => new Computed(64, bits) as unknown as Value64;
const value32 = (bits: bigint): Value32 => new Computed(32, bits) as unknown as Value32;

/** What a meaning reads. All 64-bit; registers that are not given are 0. */
export interface Sources {
  readonly rs1?: bigint;
  readonly rs2?: bigint;
  readonly rs3?: bigint;
  readonly imm?: bigint;
  readonly pc?: bigint;
}

export interface Outcome {
  /** What rd becomes, 64 bits unsigned; a single is NaN-boxed. */
  readonly rd: bigint | undefined;
  /** Names of what else happened, in order, e.g. `load i32 0x1000`. */
  readonly events: readonly string[];
}

/** Runs `meaning` once; throws when it breaks a rule. */
export function evaluateMeaning(meaning: (e: Emitter) => void, sources: Sources): Outcome {
  const events: string[] = [];
  let rd: bigint | undefined;
  const read = (value: bigint | undefined): bigint => {
    if (rd !== undefined) throw new Error('a source is read after the destination is written');
    return value ?? 0n;
  };
  const event = (name: string, ...operands: bigint[]): void => {
    if (rd !== undefined && !name.startsWith('jump'))
      throw new Error(`${name} can trap, but the destination is written already`);
    events.push([name, ...operands.map((operand) => `0x${operand.toString(16)}`)].join(' '));
  };
  const write = (bits: bigint): void => {
    if (rd !== undefined) throw new Error('the destination is written twice');
    rd = unsigned(bits, 64);
  };
  const float = (format: 's' | 'd', name: string, ...operands: (Value32 | Value64)[]): never => {
    event(`${name}.${format}`, ...operands.map(take));
    return (format === 's' ? value32(0n) : value64(0n)) as never;
  };
  const integer = (name: string, ...operands: (Value32 | Value64)[]): Value64 => {
    event(name, ...operands.map(take));
    return value64(0n);
  };
  const emitter: Emitter = {
    x: (operand) => value64(read(sources[operand])),
    setX: (value) => write(take(value)),
    imm: () => value64(sources.imm ?? 0n),
    imm32: () => value32(sources.imm ?? 0n),
    pc: () => value64(sources.pc ?? 0n),
    nextPc: () => value64((sources.pc ?? 0n) + 4n),
    constant: (value) => value64(BigInt(value)),
    constant32: (value) => value32(BigInt(value)),
    let: (value) => new Computed((value as unknown as Computed).width, take(value), true) as unknown as typeof value,
    select: (condition, whenTrue, whenFalse) => {
      const chosen = take(condition) === 0n ? whenFalse : whenTrue;
      const other = chosen === whenTrue ? whenFalse : whenTrue;
      const bits = take(chosen);
      if (other !== chosen) take(other);
      return new Computed((chosen as unknown as Computed).width, bits) as unknown as typeof chosen;
    },
    if: (condition, whenTrue, whenFalse) => (take(condition) === 0n ? whenFalse?.() : whenTrue()),
    multiplyHigh: (signs, a, b) => {
      const left = signs === 'uu' ? take(a) : signed(take(a), 64);
      const right = signs === 'ss' ? signed(take(b), 64) : take(b);
      return value64((left * right) >> 64n);
    },
    branchIf: (condition) => event(take(condition) === 0n ? 'not taken' : 'taken'),
    jumpRelative: () => event('jump by', sources.imm ?? 0n),
    jumpTo: (target) => event('jump to', take(target)),
    load: (kind, address) => integer(`load ${kind}`, address),
    store: (bytes, address, value) => event(`store ${bytes}`, take(address), take(value)),
    atomic: (kind, bytes, address, value) => integer(`atomic ${kind} ${bytes}`, address, value),
    loadReserved: (bytes, address) => integer(`load reserved ${bytes}`, address),
    storeConditional: (bytes, address, value) => integer(`store conditional ${bytes}`, address, value),
    f: (format, operand) => {
      const bits = read(sources[operand]);
      return (format === 's' ? value32(bits) : value64(bits)) as never;
    },
    fRaw: (operand) => value64(read(sources[operand])),
    setF: (format, bits) => write(format === 's' ? take(bits) | (0xffff_ffffn << 32n) : take(bits)),
    requireFloat: () => event('require float'),
    floatArithmetic: (operation, format, a, b) => float(format, operation, a, b),
    floatSqrt: (format, a) => float(format, 'sqrt', a),
    floatFma: (format, negateProduct, negateAddend, a, b, c) =>
      float(format, `${negateProduct ? '-' : '+'}${negateAddend ? '-' : '+'}fma`, a, b, c),
    floatMinMax: (operation, format, a, b) => float(format, operation, a, b),
    floatCompare: (operation, format, a, b) => integer(`${operation}.${format}`, a, b),
    floatClass: (format, a) => integer(`class.${format}`, a),
    floatToInteger: (to, format, a) => integer(`convert ${format} to ${to}`, a),
    integerToFloat: (format, from, a) => float(format, `convert ${from} to`, a),
    floatConvert: (to: 's' | 'd', from: 's' | 'd', a: Value32 | Value64) => float(to, `convert ${from} to`, a),
    csr: (operation, source) => event(`csr ${operation} ${source}`),
    system: (operation) => event(operation),
  };
  meaning(emitter);
  return { rd, events };
}
