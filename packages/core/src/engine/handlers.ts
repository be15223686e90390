/**
 * The interpreter's handlers: one for each full instruction, length it can have, and (for branches and jumps) reach, and the special ones.
 * A record's `handler` is a position in this list; its `entry` is a position in `entries`, which the slow half goes by.
 */

import { assert, defined } from '../base/assert.ts';
import type { Instruction } from '../isa/instruction.ts';
import { instructions } from '../isa/instructions.ts';
import type { Reach } from './fast-emitter.ts';
import { fusedSequences } from './fused-sequences.ts';

/** Instructions with a meaning of their own. The entry number of an illegal instruction is one past the last. */
export const entries: readonly Instruction[] = instructions.filter((entry) => entry.meaning !== undefined);
export const ILLEGAL_ENTRY = entries.length;
assert(entries.length < 4095, 'entry numbers fit 12 bits');

/** Handlers that are no instruction. A fresh code page is all zeros, so 0 is `decode`. */
export const SPECIAL = {
  /** Nothing is known of this halfword yet. */
  decode: 0,
  /** Execution ran off the page's end. */
  nextPage: 1,
  /** An instruction that crosses into the next page. */
  straddle: 2,
  /** The slow half does it. */
  slow: 3,
} as const;
const SPECIAL_COUNT = 4;

/** One instruction within a handler. */
export interface HandlerPart {
  readonly entry: Instruction;
  readonly length: 2 | 4;
  readonly reach: Reach;
}

/** Operands that are what an earlier part of the same handler wrote: how many parts before. */
export interface Forwards {
  readonly rs1?: number;
  readonly rs2?: number;
}

export interface Handler extends HandlerPart {
  /** The instructions behind it, in a fused sequence. */
  readonly rest: readonly (HandlerPart & { readonly forwards: Forwards })[];
}

const reaches: readonly Reach[] = ['far', 'forward', 'backward'];

const singles: readonly Handler[] = entries.flatMap((entry) => {
  const isShort = instructions.some((other) => other.expansion?.name === entry.name);
  const lengths: readonly (2 | 4)[] = isShort ? [4, 2] : [4];
  const isRelative = entry.flow === 'branch' || entry.flow === 'jump';
  return lengths.flatMap((length) =>
    (isRelative ? reaches : (['far'] as const)).map((reach) => ({ entry, length, reach, rest: [] })),
  );
});

function singleOf(name: string | undefined, length: string | undefined, reach: string | undefined): Handler {
  const found = singles.find(
    (handler) => handler.entry.name === name && handler.length === Number(length) && handler.reach === reach,
  );
  return defined(found, `${name} ${length} ${reach}`);
}

/** `rs1:1 rs2:2`, or `none`. */
function forwardsOf(text: string | undefined): Forwards {
  const distances = text?.split(' ').flatMap((word) => {
    const [operand, distance] = word.split(':');
    return distance === undefined ? [] : [[operand, Number(distance)] as const];
  });
  return Object.fromEntries(distances ?? []) as Forwards;
}

/** The sequences of fused-sequences.ts as handlers. */
const sequences: readonly Handler[] = fusedSequences.map((text) => {
  const [first, ...others] = text.split(' | ');
  const rest: (HandlerPart & { readonly forwards: Forwards })[] = [];
  for (let at = 0; at < others.length; at += 2) {
    const [name, length, reach] = others[at]?.split(' ') ?? [];
    rest.push({ ...singleOf(name, length, reach), forwards: forwardsOf(others[at + 1]) });
  }
  const [name, length] = first?.split(' ') ?? [];
  const start = singleOf(name, length, 'far');
  return { entry: start.entry, length: start.length, reach: start.reach, rest };
});

const bytesOf = ({ length, rest }: Handler): number => rest.reduce((sum: number, part) => sum + part.length, length);

/** How many bytes of code the longest sequence has: a write may make one void that begins so far before it. */
export const LONGEST_SEQUENCE_BYTES = Math.max(...sequences.map(bytesOf));

/** Every handler of an instruction or a sequence, without the special ones. */
export const handlers: readonly Handler[] = [...singles, ...sequences];

const coveredBytes = handlers.map(bytesOf);

/** How many bytes of code handler number `number` stands for, or undefined for a special one. */
export function bytesCovered(number: number): number | undefined {
  return coveredBytes[number - SPECIAL_COUNT];
}

const entryNumbers = new Map(entries.map((entry, index) => [entry, index]));

/** Handler numbers of an entry, by length and reach. */
const numbers: (number | undefined)[] = Array.from({ length: entries.length * 8 });
const numberAt = (entry: number, length: 2 | 4, reach: Reach): number =>
  entry * 8 + (length & 4) + (reach === 'far' ? 0 : reach === 'forward' ? 1 : 2);
for (const [index, { entry, length, reach }] of singles.entries())
  numbers[numberAt(entryNumber(entry), length, reach)] = index + SPECIAL_COUNT;

/** A sequence by the handler numbers of its instructions alone. */
export interface Sequence {
  readonly number: number;
  readonly parts: readonly number[];
  /** By part. */
  readonly forwards: readonly Forwards[];
}

/** Sequences by the numbers of their first and second instructions, what saves most first. */
const fused: (Map<number, Sequence[]> | undefined)[] = Array.from({ length: handlers.length + SPECIAL_COUNT });
for (const [index, { entry, length, rest }] of sequences.entries()) {
  const numberOf = (part: HandlerPart): number => handlerNumber(entryNumber(part.entry), part.length, part.reach);
  const parts = [handlerNumber(entryNumber(entry), length, 'far'), ...rest.map(numberOf)];
  const [start = 0, second = 0] = parts;
  const seconds = fused[start] ?? new Map<number, Sequence[]>();
  const known = seconds.get(second) ?? [];
  known.push({
    number: singles.length + index + SPECIAL_COUNT,
    parts,
    forwards: [{}, ...rest.map(({ forwards }) => forwards)],
  });
  seconds.set(second, known);
  fused[start] = seconds;
}
const forwarded = ({ forwards }: Sequence): number =>
  forwards.reduce((sum, { rs1, rs2 }) => sum + Number(rs1 !== undefined) + Number(rs2 !== undefined), 0);
for (const known of fused.flatMap((seconds) => [...(seconds?.values() ?? [])]))
  known.sort((a, b) => b.parts.length - a.parts.length || forwarded(b) - forwarded(a));

const NO_SEQUENCES: readonly Sequence[] = [];

/** The sequences that begin with these two instructions, the ones to be preferred first. */
export function sequencesOf(first: number, second: number): readonly Sequence[] {
  return fused[first]?.get(second) ?? NO_SEQUENCES;
}

export const HANDLER_COUNT = handlers.length + SPECIAL_COUNT;

/** The handler's number of the instruction with entry number `entry`. */
export function handlerNumber(entry: number, length: 2 | 4, reach: Reach): number {
  const number = numbers[numberAt(entry, length, reach)];
  if (number === undefined)
    assert(false, `${entries[entry]?.name} has no handler of ${length} bytes that goes ${reach}`);
  return number;
}

/** The position in `handlers` of handler number `number`, or undefined for a special one. */
export function handlerOf(number: number): Handler | undefined {
  return handlers[number - SPECIAL_COUNT];
}

export function entryNumber(entry: Instruction): number {
  return defined(entryNumbers.get(entry), entry.name);
}
