/**
 * Operands that hurt: the edges of both formats and of the integers, and random ones that land where rounding, underflow, overflow
 * and cancellation happen. Everything follows from a seed.
 */

import type { FormatName } from './reference.ts';

/** xorshift128 (Marsaglia 2003): 32 bits at a time, the same on every machine. */
export class Random {
  #x: number;
  #y = 362_436_069;
  #z = 521_288_629;
  #w = 88_675_123;

  constructor(seed: number) {
    this.#x = (seed ^ 123_456_789) | 0 || 1;
    for (let i = 0; i < 20; i++) this.bits32();
  }

  bits32(): number {
    const t = this.#x ^ (this.#x << 11);
    this.#x = this.#y;
    this.#y = this.#z;
    this.#z = this.#w;
    this.#w = this.#w ^ (this.#w >>> 19) ^ t ^ (t >>> 8);
    return this.#w >>> 0;
  }

  /** 0 .. end-1 */
  below(end: number): number {
    return this.bits32() % end;
  }

  bits64(): bigint {
    return (BigInt(this.bits32()) << 32n) | BigInt(this.bits32());
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}

interface Shape {
  readonly fractionBits: number;
  readonly maxField: number;
  readonly signMask: bigint;
}
const shapes: Record<FormatName, Shape> = {
  f32: { fractionBits: 23, maxField: 255, signMask: 1n << 31n },
  f64: { fractionBits: 52, maxField: 2047, signMask: 1n << 63n },
};

/** Zeros, subnormals, both sides of powers of two, ones and halves, ties, the largest, infinities, both kinds of NaN; both signs. */
export function edges(format: FormatName): bigint[] {
  const { fractionBits, maxField, signMask } = shapes[format];
  const one = BigInt((maxField - 1) / 2);
  const shift = BigInt(fractionBits);
  const ulps = 1n << shift;
  const number = (field: bigint, fraction: bigint): bigint => (field << shift) + fraction;
  const top = BigInt(maxField);
  const positive = [
    0n,
    1n,
    2n,
    3n,
    ulps >> 1n,
    ulps - 2n,
    ulps - 1n,
    number(1n, 0n),
    number(1n, 1n),
    number(1n, ulps - 1n),
    number(2n, 0n),
    number(2n, 1n),
    number(one - shift - 1n, 0n),
    number(one - shift - 1n, 1n),
    number(one - shift, 0n),
    number(one - 1n, 0n),
    number(one - 1n, ulps - 1n),
    number(one, 0n),
    number(one, 1n),
    number(one, 2n),
    number(one, ulps >> 1n),
    number(one, ulps - 1n),
    number(one + 1n, 0n),
    number(one + 1n, ulps >> 1n),
    number(one + shift, 0n),
    number(one + shift, 1n),
    number(one + shift + 1n, 1n),
    number((top - 1n) / 4n, 3n),
    number((3n * top) / 4n, ulps - 3n),
    number(top - 2n, ulps - 1n),
    number(top - 1n, 0n),
    number(top - 1n, ulps - 2n),
    number(top - 1n, ulps - 1n),
    number(top, 0n),
    number(top, 1n),
    number(top, (ulps >> 1n) - 1n),
    number(top, ulps >> 1n),
    number(top, (ulps >> 1n) + 5n),
  ];
  return positive.flatMap((bits) => [bits, bits | signMask]);
}

/** Numbers on both sides of every limit of the four integer types, and fractions of all kinds. */
export function integerEdges(format: FormatName): bigint[] {
  const values = [0.25, 0.5, 0.75, 1.25, 1.5, 1.75, 2.5, 3.5];
  for (const exponent of [23, 24, 31, 32, 52, 53, 62, 63, 64]) {
    for (const delta of [-2, -1.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1]) values.push(2 ** exponent + delta);
    values.push(
      2 ** exponent * (1 - 2 ** -53),
      2 ** exponent * (1 + 2 ** -52),
      2 ** exponent * (1 - 2 ** -24),
      2 ** exponent * (1 + 2 ** -23),
    );
  }
  return values.flatMap((value) => [bitsOf(format, value), bitsOf(format, -value)]);
}

/** Integers around powers of two and around the middles between neighbouring floats. */
export function integers(width: 32 | 64): bigint[] {
  const found = new Set<bigint>();
  for (let exponent = 0n; exponent <= BigInt(width); exponent++) {
    for (const delta of [-2n, -1n, 0n, 1n, 2n]) {
      for (const precision of [24n, 53n]) {
        const half = exponent > precision ? 1n << (exponent - precision - 1n) : 0n;
        for (const base of [1n << exponent, (1n << exponent) + half, (1n << exponent) + 3n * half]) {
          found.add(BigInt.asUintN(width, base + delta));
          found.add(BigInt.asUintN(width, -(base + delta)));
        }
      }
    }
  }
  return [...found];
}

const view = new DataView(new ArrayBuffer(8));

export function bitsOf(format: FormatName, value: number): bigint {
  if (format === 'f32') {
    view.setFloat32(0, value);
    return BigInt(view.getUint32(0));
  }
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}

export function valueOf(format: FormatName, bits: bigint): number {
  if (format === 'f32') {
    view.setUint32(0, Number(bits));
    return view.getFloat32(0);
  }
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

/**
 * Two factors whose product is 2^105 + 1: between its only two bits no shorter tail can hide. Added to a number 2^53 times as large, the upper
 * bit is a tie and the lower one decides it.
 */
export const sparseFactors = [4_525_252_887_137_481, 8_964_099_956_182_393] as const;

/** Addends that meet that product, or a half or a double of it, in a tie; both signs. */
export function sparseTies(): bigint[][] {
  const [x, y] = sparseFactors;
  return [2 ** 52, 2 ** 52 + 1, 2 ** 53 - 1].flatMap((significand) =>
    [1, -1].flatMap((sign) =>
      [0.5, 1, 2, -1].map((factor) =>
        [x * factor, y, sign * significand * 2 ** 106].map((value) => bitsOf('f64', value)),
      ),
    ),
  );
}

const edgesOf = { f32: [...edges('f32'), ...integerEdges('f32')], f64: [...edges('f64'), ...integerEdges('f64')] };

function randomFraction(random: Random, { fractionBits }: Shape): bigint {
  const all = (1n << BigInt(fractionBits)) - 1n;
  const bits = random.bits64();
  switch (random.below(5)) {
    // Few leading bits: exact results, ties.
    case 0:
      return (bits << BigInt(fractionBits - random.below(fractionBits))) & all;
    // A run of ones from the top: carries.
    case 1:
      return (all << BigInt(random.below(fractionBits))) & all;
    // A few low bits: just above a power of two.
    case 2:
      return bits & 7n;
    default:
      return bits & all;
  }
}

function numberWith(random: Random, format: FormatName, field: number): bigint {
  const shape = shapes[format];
  const bounded = BigInt(Math.min(Math.max(field, 0), shape.maxField - 1));
  return (
    (bounded << BigInt(shape.fractionBits)) |
    randomFraction(random, shape) |
    (random.below(2) === 0 ? 0n : shape.signMask)
  );
}

const fieldOf = (format: FormatName, bits: bigint): number =>
  Number((bits >> BigInt(shapes[format].fractionBits)) & BigInt(shapes[format].maxField));

export function randomNumber(random: Random, format: FormatName): bigint {
  const { maxField, signMask } = shapes[format];
  const middle = (maxField - 1) / 2;
  switch (random.below(8)) {
    case 0:
      return random.pick(edgesOf[format]);
    case 1:
      return BigInt.asUintN(format === 'f32' ? 32 : 64, random.pick(edgesOf[format]) + BigInt(random.below(9) - 4));
    case 2:
      return random.bits64() & (2n * signMask - 1n);
    case 3:
      return numberWith(random, format, random.below(60));
    case 4:
      return numberWith(random, format, maxField - 1 - random.below(60));
    case 5:
      return bitsOf(format, (random.bits32() | 0) / 2 ** random.below(32));
    default:
      return numberWith(random, format, middle - 40 + random.below(80));
  }
}

/** A second operand that makes the first interesting. */
export function partner(random: Random, format: FormatName, operation: string, a: bigint): bigint {
  const { fractionBits, maxField, signMask } = shapes[format];
  const bias = (maxField - 1) / 2;
  const field = fieldOf(format, a);
  const near = random.below(8) - 4;
  const choice = random.below(4);
  if (choice === 0) return randomNumber(random, format);
  if (operation === 'mul' || operation === 'fma') {
    if (choice === 1) return numberWith(random, format, bias - field + near - random.below(fractionBits + 4));
    if (choice === 2) return numberWith(random, format, maxField + bias - field + near);
    return numberWith(random, format, bias - 20 + random.below(40));
  }
  if (operation === 'div') {
    if (choice === 1) return numberWith(random, format, field + bias + near + random.below(fractionBits + 4));
    if (choice === 2) return numberWith(random, format, field - bias + near);
    return numberWith(random, format, field - 20 + random.below(40));
  }
  // Sums and comparisons: same size, opposite sign, neighbours.
  if (choice === 1)
    return BigInt.asUintN(format === 'f32' ? 32 : 64, a + BigInt(near)) ^ (random.below(2) === 0 ? signMask : 0n);
  return numberWith(random, format, field + near - (choice === 2 ? random.below(fractionBits + 4) : 0));
}

/** An addend of the size of a * b, often nearly its opposite. */
export function addend(random: Random, format: FormatName, a: bigint, b: bigint): bigint {
  const { fractionBits, maxField, signMask } = shapes[format];
  const width = format === 'f32' ? 32 : 64;
  const field = fieldOf(format, a) + fieldOf(format, b) - (maxField - 1) / 2;
  switch (random.below(5)) {
    case 0:
      return randomNumber(random, format);
    case 1: {
      const product = bitsOf(format, valueOf(format, a) * valueOf(format, b)) ^ signMask;
      return BigInt.asUintN(width, product + BigInt(random.below(5) - 2));
    }
    case 2:
      return numberWith(random, format, field + random.below(2 * fractionBits + 8) - fractionBits - 4);
    case 3:
      return numberWith(
        random,
        format,
        field + random.below(6) - 3 + (random.below(2) === 0 ? fractionBits : -fractionBits),
      );
    default:
      return numberWith(random, format, field + random.below(5) - 2);
  }
}

/** Squares of short numbers, and their neighbours. */
export function radicand(random: Random, format: FormatName): bigint {
  if (random.below(2) === 0) return randomNumber(random, format);
  const short = random.below(2 ** 26) * 2 ** (random.below(60) - 30);
  return (
    bitsOf(format, format === 'f32' ? Math.fround(Math.fround(short / 2 ** 14) ** 2) : short ** 2) +
    BigInt(random.below(3))
  );
}

export function randomInteger(random: Random, width: 32 | 64): bigint {
  const bits = BigInt.asUintN(width, random.bits64());
  switch (random.below(4)) {
    case 0:
      return bits;
    case 1:
      return bits >> BigInt(random.below(width));
    case 2:
      return random.pick(integersOf[width]);
    default:
      return BigInt.asUintN(width, BigInt.asIntN(width, bits) >> BigInt(random.below(width)));
  }
}

const integersOf = { 32: integers(32), 64: integers(64) };
