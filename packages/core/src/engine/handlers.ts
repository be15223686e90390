/**
 * The interpreter's handlers: one for each full instruction, length it can have, and (for branches and jumps) reach, and the special ones.
 * A record's `handler` is a position in this list; its `entry` is a position in `entries`, which the slow half goes by.
 */

import { assert, defined } from '../base/assert.ts';
import type { Instruction } from '../isa/instruction.ts';
import { instructions } from '../isa/instructions.ts';
import type { Reach } from './fast-emitter.ts';
import { fusedPairs } from './fused-pairs.ts';

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

/** Which operands of a pair's second instruction are what the first wrote. */
export type Forward = 'none' | 'rs1' | 'rs2' | 'both';

export interface Handler extends HandlerPart {
  /** The instruction behind it, in a fused pair. */
  readonly second?: HandlerPart & { readonly forward: Forward };
}

const reaches: readonly Reach[] = ['far', 'forward', 'backward'];

const singles: readonly Handler[] = entries.flatMap((entry) => {
  const isShort = instructions.some((other) => other.expansion?.name === entry.name);
  const lengths: readonly (2 | 4)[] = isShort ? [4, 2] : [4];
  const isRelative = entry.flow === 'branch' || entry.flow === 'jump';
  return lengths.flatMap((length) =>
    (isRelative ? reaches : (['far'] as const)).map((reach) => ({ entry, length, reach })),
  );
});

/** The fused pairs of fused-pairs.ts as handlers. */
const pairs: readonly Handler[] = fusedPairs.map((text) => {
  const [first = '', second = '', forward = ''] = text.split(' | ');
  const [firstName, firstLength] = first.split(' ');
  const [secondName, secondLength, reach] = second.split(' ');
  const find = (name: string | undefined, length: string | undefined, wanted: string): Handler =>
    defined(
      singles.find(
        (handler) => handler.entry.name === name && handler.length === Number(length) && handler.reach === wanted,
      ),
      text,
    );
  return {
    ...find(firstName, firstLength, 'far'),
    second: { ...find(secondName, secondLength, reach ?? ''), forward: forward as Forward },
  };
});

/** Every handler of an instruction or a pair, without the special ones. */
export const handlers: readonly Handler[] = [...singles, ...pairs];

const entryNumbers = new Map(entries.map((entry, index) => [entry, index]));

/** Handler numbers of an entry, by length and reach. */
const numbers: (number | undefined)[] = Array.from({ length: entries.length * 8 });
const numberAt = (entry: number, length: 2 | 4, reach: Reach): number =>
  entry * 8 + (length & 4) + (reach === 'far' ? 0 : reach === 'forward' ? 1 : 2);
for (const [index, { entry, length, reach }] of singles.entries())
  numbers[numberAt(entryNumber(entry), length, reach)] = index + SPECIAL_COUNT;

/** Fused handlers by the numbers of the two single ones: first * 65536 + second, then by what is forwarded. */
const fused = new Map<number, Partial<Record<Forward, number>>>();
for (const [index, { entry, length, second }] of pairs.entries()) {
  if (!second) continue;
  const [before, behind] = [entryNumber(entry), entryNumber(second.entry)];
  const at = handlerNumber(before, length, 'far') * 0x1_0000 + handlerNumber(behind, second.length, second.reach);
  const byForward = fused.get(at) ?? {};
  byForward[second.forward] = singles.length + index + SPECIAL_COUNT;
  fused.set(at, byForward);
}

/** The handler of the pair, if there is one: the forwarding one, else the plain one. */
export function fusedNumber(first: number, second: number, forward: Forward): number | undefined {
  const byForward = fused.get(first * 0x1_0000 + second);
  return byForward && (byForward[forward] ?? byForward.none);
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
