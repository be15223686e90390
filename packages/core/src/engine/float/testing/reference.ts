/**
 * The oracle of our own: IEEE 754-2019 arithmetic on exact rational numbers of BigInts, as slow and as plain as it can be. Shares
 * nothing with the generated code: not its constants, not its tricks.
 */

export type FormatName = 'f32' | 'f64';

/** Bits and accrued flags (NV 16, DZ 8, OF 4, UF 2, NX 1) of one operation. */
export interface Outcome {
  readonly bits: bigint;
  readonly flags: number;
}

interface Shape {
  readonly precision: number;
  readonly maxExponent: number;
  readonly width: number;
}
const shapes: Record<FormatName, Shape> = {
  f32: { precision: 24, maxExponent: 127, width: 32 },
  f64: { precision: 53, maxExponent: 1023, width: 64 },
};

/** numerator / denominator, denominator > 0. */
interface Rational {
  readonly numerator: bigint;
  readonly denominator: bigint;
}
type Value =
  | { readonly kind: 'nan'; readonly isSignaling: boolean }
  | { readonly kind: 'infinity'; readonly isNegative: boolean }
  | { readonly kind: 'finite'; readonly isNegative: boolean; readonly magnitude: Rational };

const NV = 16;
const DZ = 8;
const OF = 4;
const UF = 2;
const NX = 1;

const power = (exponent: number): Rational =>
  exponent >= 0
    ? { numerator: 2n ** BigInt(exponent), denominator: 1n }
    : { numerator: 1n, denominator: 2n ** BigInt(-exponent) };
const times = (a: Rational, b: Rational): Rational => ({
  numerator: a.numerator * b.numerator,
  denominator: a.denominator * b.denominator,
});
const over = (a: Rational, b: Rational): Rational => ({
  numerator: a.numerator * b.denominator,
  denominator: a.denominator * b.numerator,
});
const plus = (a: Rational, b: Rational): Rational => ({
  numerator: a.numerator * b.denominator + b.numerator * a.denominator,
  denominator: a.denominator * b.denominator,
});
const isLess = (a: Rational, b: Rational): boolean => a.numerator * b.denominator < b.numerator * a.denominator;
const integer = (value: bigint): Rational => ({ numerator: value, denominator: 1n });
const signed = (isNegative: boolean, magnitude: Rational): Rational =>
  isNegative ? times(integer(-1n), magnitude) : magnitude;

export function decode(format: FormatName, bits: bigint): Value {
  const { precision, maxExponent, width } = shapes[format];
  const fractionBits = BigInt(precision - 1);
  const isNegative = bits >> BigInt(width - 1) === 1n;
  const fraction = bits & ((1n << fractionBits) - 1n);
  const field = Number((bits >> fractionBits) & BigInt(2 * maxExponent + 1));
  if (field === 2 * maxExponent + 1) {
    if (fraction === 0n) return { kind: 'infinity', isNegative };
    return { kind: 'nan', isSignaling: fraction >> (fractionBits - 1n) === 0n };
  }
  const significand = field === 0 ? fraction : fraction + (1n << fractionBits);
  const exponent = Math.max(field, 1) - maxExponent - (precision - 1);
  return { kind: 'finite', isNegative, magnitude: times(integer(significand), power(exponent)) };
}

function infinityBits({ precision, maxExponent, width }: Shape, isNegative: boolean): bigint {
  return (BigInt(2 * maxExponent + 1) << BigInt(precision - 1)) + (isNegative ? 1n << BigInt(width - 1) : 0n);
}
function nanBits(format: FormatName): bigint {
  return format === 'f32' ? 0x7fc0_0000n : 0x7ff8_0000_0000_0000n;
}
function zeroBits(format: FormatName, isNegative: boolean): bigint {
  return isNegative ? 1n << BigInt(shapes[format].width - 1) : 0n;
}

/** `value` (not negative) to an integer; `isNegative` is the sign it stands for. */
function roundToInteger(value: Rational, isNegative: boolean, rm: number): { rounded: bigint; isExact: boolean } {
  const floor = value.numerator / value.denominator;
  const twiceRest = 2n * (value.numerator - floor * value.denominator);
  if (twiceRest === 0n) return { rounded: floor, isExact: true };
  let isUp = false;
  if (rm === 0) isUp = twiceRest > value.denominator || (twiceRest === value.denominator && floor % 2n === 1n);
  if (rm === 2) isUp = isNegative;
  if (rm === 3) isUp = !isNegative;
  if (rm === 4) isUp = twiceRest >= value.denominator;
  return { rounded: isUp ? floor + 1n : floor, isExact: false };
}

const bitLength = (value: bigint): number => value.toString(2).length;

/** floor(log2(value)) */
function exponentOf(value: Rational): number {
  const guess = bitLength(value.numerator) - bitLength(value.denominator);
  return isLess(value, power(guess)) ? guess - 1 : guess;
}

function round(format: FormatName, isNegative: boolean, magnitude: Rational, rm: number): Outcome {
  const shape = shapes[format];
  const { precision, maxExponent } = shape;
  if (magnitude.numerator === 0n) return { bits: zeroBits(format, isNegative), flags: 0 };
  const minExponent = 1 - maxExponent;
  const exponent = exponentOf(magnitude);
  const quantum = Math.max(exponent, minExponent) - (precision - 1);
  const { rounded, isExact } = roundToInteger(over(magnitude, power(quantum)), isNegative, rm);
  const result = times(integer(rounded), power(quantum));
  if (!isLess(result, power(maxExponent + 1))) {
    const staysFinite = rm === 1 || (rm === 2 && !isNegative) || (rm === 3 && isNegative);
    return { bits: infinityBits(shape, isNegative) - (staysFinite ? 1n : 0n), flags: OF | NX };
  }
  // Tiny after rounding: with exponents that have no end, the rounded result would be below the smallest normal number.
  const freeQuantum = exponent - (precision - 1);
  const free = times(
    integer(roundToInteger(over(magnitude, power(freeQuantum)), isNegative, rm).rounded),
    power(freeQuantum),
  );
  const isTiny = isLess(free, power(minExponent));
  const flags = isExact ? 0 : isTiny ? UF | NX : NX;
  // Rounded significands below 2^(precision-1) are subnormal numbers, whose field is 0; one that reached 2^precision carries by itself.
  const field = BigInt(quantum - (minExponent - (precision - 1)));
  const bits = (field << BigInt(precision - 1)) + rounded;
  return { bits: zeroBits(format, isNegative) + bits, flags };
}

function nan(format: FormatName, operands: readonly Value[], isInvalid: boolean): Outcome {
  const hasSignaling = operands.some((operand) => operand.kind === 'nan' && operand.isSignaling);
  return { bits: nanBits(format), flags: hasSignaling || isInvalid ? NV : 0 };
}

/** The rounded sum of two finite terms; a zero is +0 unless both terms are negative zeros or the mode is RDN. */
function sum(format: FormatName, a: Value & { kind: 'finite' }, b: Value & { kind: 'finite' }, rm: number): Outcome {
  const total = plus(signed(a.isNegative, a.magnitude), signed(b.isNegative, b.magnitude));
  if (total.numerator === 0n) {
    const isNegative = a.isNegative === b.isNegative ? a.isNegative : rm === 2;
    return { bits: zeroBits(format, isNegative), flags: 0 };
  }
  return round(
    format,
    total.numerator < 0n,
    { ...total, numerator: total.numerator < 0n ? -total.numerator : total.numerator },
    rm,
  );
}

/** a * b + c with one rounding; `a + b` is `a * 1 + b`. */
function fma(format: FormatName, a: Value, b: Value, c: Value, rm: number): Outcome {
  const isZero = (value: Value): boolean => value.kind === 'finite' && value.magnitude.numerator === 0n;
  const isInvalidProduct = (a.kind === 'infinity' && isZero(b)) || (isZero(a) && b.kind === 'infinity');
  if (a.kind === 'nan' || b.kind === 'nan' || c.kind === 'nan') return nan(format, [a, b, c], isInvalidProduct);
  if (isInvalidProduct) return nan(format, [], true);
  const isNegative = a.isNegative !== b.isNegative;
  if (a.kind === 'infinity' || b.kind === 'infinity') {
    if (c.kind === 'infinity' && c.isNegative !== isNegative) return nan(format, [], true);
    return { bits: infinityBits(shapes[format], isNegative), flags: 0 };
  }
  if (c.kind === 'infinity') return { bits: infinityBits(shapes[format], c.isNegative), flags: 0 };
  return sum(format, { kind: 'finite', isNegative, magnitude: times(a.magnitude, b.magnitude) }, c, rm);
}

function multiply(format: FormatName, a: Value, b: Value, rm: number): Outcome {
  if (a.kind === 'nan' || b.kind === 'nan') return nan(format, [a, b], false);
  const isNegative = a.isNegative !== b.isNegative;
  // Adding a zero of the product's sign changes nothing.
  return fma(format, a, b, { kind: 'finite', isNegative, magnitude: integer(0n) }, rm);
}

function divide(format: FormatName, a: Value, b: Value, rm: number): Outcome {
  if (a.kind === 'nan' || b.kind === 'nan') return nan(format, [a, b], false);
  const isNegative = a.isNegative !== b.isNegative;
  if (a.kind === 'infinity') {
    if (b.kind === 'infinity') return nan(format, [], true);
    return { bits: infinityBits(shapes[format], isNegative), flags: 0 };
  }
  if (b.kind === 'infinity') return { bits: zeroBits(format, isNegative), flags: 0 };
  if (b.magnitude.numerator === 0n) {
    if (a.magnitude.numerator === 0n) return nan(format, [], true);
    return { bits: infinityBits(shapes[format], isNegative), flags: DZ };
  }
  return round(format, isNegative, over(a.magnitude, b.magnitude), rm);
}

/** floor(sqrt(value)) by Newton's iteration from above. */
function integerRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let root = 1n << BigInt(Math.ceil(bitLength(value) / 2));
  for (;;) {
    const next = (root + value / root) / 2n;
    if (next >= root) return root;
    root = next;
  }
}

function squareRoot(format: FormatName, a: Value, rm: number): Outcome {
  if (a.kind === 'nan') return nan(format, [a], false);
  if (a.kind === 'finite' && a.magnitude.numerator === 0n) return { bits: zeroBits(format, a.isNegative), flags: 0 };
  if (a.isNegative) return nan(format, [], true);
  if (a.kind === 'infinity') return { bits: infinityBits(shapes[format], false), flags: 0 };
  // 700 bits after the point leave more than 100 bits below the smallest root's precision; the last bit says "and a little more".
  const scale = 700n;
  const scaled = (a.magnitude.numerator << (2n * scale)) / a.magnitude.denominator;
  const root = integerRoot(scaled);
  const isExact = root * root === scaled && scaled * a.magnitude.denominator === a.magnitude.numerator << (2n * scale);
  return round(format, false, { numerator: 2n * root + (isExact ? 0n : 1n), denominator: 1n << (scale + 1n) }, rm);
}

function compare(operation: string, a: Value, b: Value): Outcome {
  if (a.kind === 'nan' || b.kind === 'nan') {
    const isQuiet = operation === 'eq';
    return { bits: 0n, flags: nan('f64', [a, b], !isQuiet).flags };
  }
  const [x, y] = [order(a), order(b)];
  const isTrue =
    operation === 'eq' ? !isLess(x, y) && !isLess(y, x) : operation === 'lt' ? isLess(x, y) : !isLess(y, x);
  return { bits: isTrue ? 1n : 0n, flags: 0 };
}

function order(value: Value & { kind: 'finite' | 'infinity' }): Rational {
  return signed(value.isNegative, value.kind === 'infinity' ? power(2000) : value.magnitude);
}

function minMax(operation: string, format: FormatName, aBits: bigint, bBits: bigint): Outcome {
  const [a, b] = [decode(format, aBits), decode(format, bBits)];
  const { flags } = nan(format, [a, b], false);
  if (a.kind === 'nan' && b.kind === 'nan') return { bits: nanBits(format), flags };
  if (a.kind === 'nan') return { bits: bBits, flags };
  if (b.kind === 'nan') return { bits: aBits, flags };
  const [x, y] = [order(a), order(b)];
  const aIsLess = isLess(x, y) || (!isLess(y, x) && a.isNegative && !b.isNegative);
  return { bits: aIsLess === (operation === 'min') ? aBits : bBits, flags };
}

function classify(format: FormatName, bits: bigint): Outcome {
  const value = decode(format, bits);
  if (value.kind === 'nan') return { bits: value.isSignaling ? 1n << 8n : 1n << 9n, flags: 0 };
  let place: number;
  if (value.kind === 'infinity') place = 7;
  else if (value.magnitude.numerator === 0n) place = 4;
  else place = isLess(value.magnitude, power(1 - shapes[format].maxExponent)) ? 5 : 6;
  return { bits: 1n << BigInt(value.isNegative ? 7 - place : place), flags: 0 };
}

const integerRanges: Record<string, { least: bigint; most: bigint; width: number }> = {
  toI32: { least: -(2n ** 31n), most: 2n ** 31n - 1n, width: 32 },
  toU32: { least: 0n, most: 2n ** 32n - 1n, width: 32 },
  toI64: { least: -(2n ** 63n), most: 2n ** 63n - 1n, width: 64 },
  toU64: { least: 0n, most: 2n ** 64n - 1n, width: 64 },
};

function toInteger(operation: string, value: Value, rm: number): Outcome {
  const range = integerRanges[operation];
  if (!range) throw new Error(`no operation ${operation}`);
  const wrap = (result: bigint): bigint => BigInt.asUintN(range.width, result);
  if (value.kind === 'nan') return { bits: wrap(range.most), flags: NV };
  if (value.kind === 'infinity') return { bits: wrap(value.isNegative ? range.least : range.most), flags: NV };
  const { rounded, isExact } = roundToInteger(value.magnitude, value.isNegative, rm);
  const result = value.isNegative ? -rounded : rounded;
  if (result < range.least) return { bits: wrap(range.least), flags: NV };
  if (result > range.most) return { bits: wrap(range.most), flags: NV };
  return { bits: wrap(result), flags: isExact ? 0 : NX };
}

function fromInteger(operation: string, format: FormatName, bits: bigint, rm: number): Outcome {
  const width = operation.endsWith('32') ? 32 : 64;
  const value = operation.includes('I') ? BigInt.asIntN(width, bits) : BigInt.asUintN(width, bits);
  return round(format, value < 0n, integer(value < 0n ? -value : value), rm);
}

function convert(to: FormatName, value: Value, rm: number): Outcome {
  if (value.kind === 'nan') return nan(to, [value], false);
  if (value.kind === 'infinity') return { bits: infinityBits(shapes[to], value.isNegative), flags: 0 };
  return round(to, value.isNegative, value.magnitude, rm);
}

/** What `name` (as the functions are called: `f64.add`, `convert.f64ToF32`) must give, as unsigned bits. */
export function expected(name: string, rm: number, aBits: bigint, bBits: bigint, cBits: bigint): Outcome {
  if (name === 'convert.f64ToF32') return convert('f32', decode('f64', aBits), rm);
  if (name === 'convert.f32ToF64') return convert('f64', decode('f32', aBits), rm);
  const [format, operation] = name.split('.') as [FormatName, string];
  if (operation.startsWith('from')) return fromInteger(operation, format, aBits, rm);
  const a = decode(format, aBits);
  if (operation in integerRanges) return toInteger(operation, a, rm);
  switch (operation) {
    case 'sqrt':
      return squareRoot(format, a, rm);
    case 'classify':
      return classify(format, aBits);
    case 'min':
    case 'max':
      return minMax(operation, format, aBits, bBits);
    case 'eq':
    case 'lt':
    case 'le':
      return compare(operation, a, decode(format, bBits));
    default:
  }
  const b = decode(format, bBits);
  const one = { kind: 'finite', isNegative: false, magnitude: integer(1n) } as const;
  switch (operation) {
    case 'add':
      return fma(format, a, one, b, rm);
    case 'sub':
      return fma(format, a, one, b.kind === 'nan' ? b : { ...b, isNegative: !b.isNegative }, rm);
    case 'mul':
      return multiply(format, a, b, rm);
    case 'div':
      return divide(format, a, b, rm);
    case 'fma':
      return fma(format, a, b, decode(format, cBits), rm);
    default:
      throw new Error(`no operation ${name}`);
  }
}
