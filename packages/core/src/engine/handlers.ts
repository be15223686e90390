/**
 * The interpreter's handlers: one for each full instruction, length it can have, and (for branches and jumps) reach, and the special ones.
 * A record's `handler` is a position in this list; its `entry` is a position in `entries`, which the slow half goes by.
 */

import { assert, defined } from '../base/assert.ts';
import type { Instruction } from '../isa/instruction.ts';
import { instructions } from '../isa/instructions.ts';
import type { Reach } from './fast-emitter.ts';

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

export interface Handler {
  readonly entry: Instruction;
  readonly length: 2 | 4;
  readonly reach: Reach;
}

const reaches: readonly Reach[] = ['far', 'forward', 'backward'];

/** Every handler of an instruction, without the special ones. */
export const handlers: readonly Handler[] = entries.flatMap((entry) => {
  const isShort = instructions.some((other) => other.expansion?.name === entry.name);
  const lengths: readonly (2 | 4)[] = isShort ? [4, 2] : [4];
  const isRelative = entry.flow === 'branch' || entry.flow === 'jump';
  return lengths.flatMap((length) => (isRelative ? reaches : (['far'] as const)).map((reach) => ({ entry, length, reach })));
});

const key = (name: string, length: number, reach: Reach): string => `${name} ${length} ${reach}`;
const numbers = new Map(handlers.map((handler, index) => [key(handler.entry.name, handler.length, handler.reach), index + SPECIAL_COUNT]));
const entryNumbers = new Map(entries.map((entry, index) => [entry, index]));

export const HANDLER_COUNT = handlers.length + SPECIAL_COUNT;

/** The number of an instruction's handler. */
export function handlerNumber(entry: Instruction, length: 2 | 4, reach: Reach): number {
  return defined(numbers.get(key(entry.name, length, reach)), `the handler of ${entry.name}`);
}

/** The position in `handlers` of handler number `number`, or undefined for a special one. */
export function handlerOf(number: number): Handler | undefined {
  return handlers[number - SPECIAL_COUNT];
}

export function entryNumber(entry: Instruction): number {
  return defined(entryNumbers.get(entry), entry.name);
}
