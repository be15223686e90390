/** Vectors for an operation by its name: all edges against each other, or random ones from a seed; and comparing outcomes. */

import { operationNames, outcomeSize, takesMode, vectorSize } from './harness.ts';
import { type FormatName, type Outcome, expected } from './reference.ts';
import {
  Random,
  addend,
  bitsOf,
  edges,
  integerEdges,
  integers,
  partner,
  radicand,
  randomInteger,
  randomNumber,
  sparseFactors,
  sparseTies,
} from './vectors.ts';

export interface Vector {
  readonly rm: number;
  readonly a: bigint;
  readonly b: bigint;
  readonly c: bigint;
}

const modes = [0, 1, 2, 3, 4];

function shape(name: string): {
  format: FormatName;
  operation: string;
  operands: number;
  integerWidth: 32 | 64 | undefined;
} {
  const [group, operation] = name.split('.') as [string, string];
  const format = (group === 'convert' ? operation.slice(0, 3) : group) as FormatName;
  const integerWidth = operation.startsWith('from') ? (operation.endsWith('32') ? 32 : 64) : undefined;
  const isUnary =
    group === 'convert' ||
    integerWidth !== undefined ||
    operation.startsWith('to') ||
    ['sqrt', 'classify'].includes(operation);
  return { format, operation, operands: operation === 'fma' ? 3 : isUnary ? 1 : 2, integerWidth };
}

function vectorOf(name: string, rm: number, [a, b, c]: readonly bigint[]): Vector {
  return { rm: takesMode(name) ? rm : 0, a: a ?? 0n, b: b ?? 0n, c: c ?? 0n };
}

/** Every edge with every edge, in every mode; for fma every pair of edges with `addends` third ones. */
export function directedVectors(name: string, addends: number): Vector[] {
  const { format, operands, integerWidth } = shape(name);
  const listed = integerWidth ? integers(integerWidth) : edges(format);
  const tuples = operands === 1 ? unaryTuples(listed, integerWidth ? [] : integerEdges(format)) : pairs(listed);
  const random = new Random(operands);
  const withAddends = ([a, b]: readonly [bigint, bigint]): bigint[][] =>
    Array.from({ length: addends }, (_, i) => [a, b, i % 2 === 0 ? random.pick(listed) : addend(random, format, a, b)]);
  const ties =
    name === 'f64.fma' ? sparseTies() : name === 'f64.mul' ? [sparseFactors.map((value) => bitsOf('f64', value))] : [];
  const all = [...ties, ...(operands === 3 ? pairs(listed).flatMap(withAddends) : tuples)];
  return all.flatMap((tuple) => (takesMode(name) ? modes : [0]).map((rm) => vectorOf(name, rm, tuple)));
}

const unaryTuples = (...lists: readonly (readonly bigint[])[]): bigint[][] => lists.flat().map((a) => [a]);
const pairs = (list: readonly bigint[]): [bigint, bigint][] =>
  list.flatMap((a) => list.map((b): [bigint, bigint] => [a, b]));

/** One random vector that suits the operation; the mode too is random. */
export function randomVector(random: Random, name: string): Vector {
  const { format, operation, operands, integerWidth } = shape(name);
  const rm = random.below(5);
  if (integerWidth) return vectorOf(name, rm, [randomInteger(random, integerWidth)]);
  if (operation === 'sqrt') return vectorOf(name, rm, [radicand(random, format)]);
  const a = randomNumber(random, format);
  if (operands === 1) return vectorOf(name, rm, [a]);
  const b = partner(random, format, operation, a);
  return vectorOf(name, rm, operands === 2 ? [a, b] : [a, b, addend(random, format, a, b)]);
}

export function encode(name: string, vectors: readonly Vector[]): Uint8Array {
  const bytes = new Uint8Array(vectors.length * vectorSize);
  const view = new DataView(bytes.buffer);
  vectors.forEach(({ rm, a, b, c }, index) => {
    const at = index * vectorSize;
    view.setUint8(at, operationNames.indexOf(name));
    view.setUint8(at + 1, rm);
    [a, b, c].forEach((operand, place) => view.setBigUint64(at + 8 + 8 * place, operand, true));
  });
  return bytes;
}

export function decodeOutcome(outcomes: Uint8Array, index: number): Outcome {
  const view = new DataView(outcomes.buffer, outcomes.byteOffset + index * outcomeSize, outcomeSize);
  return { bits: view.getBigUint64(0, true), flags: Number(view.getBigUint64(8, true)) };
}

/** What the reference says of all of them. */
export function expectedOutcomes(name: string, vectors: readonly Vector[]): Uint8Array {
  const bytes = new Uint8Array(vectors.length * outcomeSize);
  const view = new DataView(bytes.buffer);
  vectors.forEach(({ rm, a, b, c }, index) => {
    const { bits, flags } = expected(name, rm, a, b, c);
    view.setBigUint64(index * outcomeSize, bits, true);
    view.setBigUint64(index * outcomeSize + 8, BigInt(flags), true);
  });
  return bytes;
}

const modeNames = ['RNE', 'RTZ', 'RDN', 'RUP', 'RMM'];
const flagNames = ['NX', 'UF', 'OF', 'DZ', 'NV'];

function describe({ bits, flags }: Outcome): string {
  return `0x${bits.toString(16)} ${flagNames.filter((_, bit) => flags & (1 << bit)).join('|') || 'no flags'}`;
}

/** A sentence for each outcome that is not as it should be with `accrued` flags before, `limit` at most. */
export function differences(
  name: string,
  vectors: readonly Vector[],
  actual: Uint8Array,
  wanted: Uint8Array,
  accrued: number,
  limit = 5,
): string[] {
  const found: string[] = [];
  for (let index = 0; index < vectors.length && found.length < limit; index++) {
    const [got, want] = [decodeOutcome(actual, index), decodeOutcome(wanted, index)];
    if (got.bits === want.bits && got.flags === (want.flags | accrued)) continue;
    const { rm, a, b, c } = vectors[index] as Vector;
    const operands = [a, b, c].map((operand) => `0x${operand.toString(16)}`).join(', ');
    found.push(
      `${name}(${operands}) ${modeNames[rm]}: ${describe(got)}, but should be ${describe({ ...want, flags: want.flags | accrued })}`,
    );
  }
  return found;
}
