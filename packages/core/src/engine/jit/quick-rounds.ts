/** How many rounds of a loop can go by before any of its even bases (even-loop.ts) comes to another page: computed once before them. */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { Body, Label, Local } from '../../wasm/body.ts';
import { type I32, type I64, i32, select } from '../../wasm/expression.ts';
import { load32, load64 } from '../../wasm/memory-access.ts';
import { type InlineAccess, tlbEntry, tlbTag } from '../inline-memory.ts';
import type { EvenBase, EvenLoop, Stride } from './even-loop.ts';
import type { Block } from './region.ts';
import { type RegisterSet, registersOf } from './registers.ts';

/** With fewer, counting them costs more than it saves. */
export const FEWEST_QUICK_ROUNDS = 4;

/** A loop with quick rounds, and what `count` has to come to before something has to be looked at in it. */
export interface Bounded {
  readonly loop: EvenLoop;
  readonly bound: Local<'i32'>;
}

/** The copy of a loop that is being written for its quick rounds (see even-loop.ts). */
export interface QuickLoop {
  readonly header: Block;
  readonly loop: EvenLoop;
  readonly again: Label;
  /** The round's number among those that are written one behind the other. */
  readonly copy: number;
  /** NX is accrued in all of them. */
  readonly isAccrued: boolean;
  /** See QuickRounds. */
  readonly addends: QuickRounds['addends'];
  readonly hosts: Hosts;
  /** Registers that are stored when the last round is over, and not in each. */
  readonly late: RegisterSet;
}

/** Rounds that are written one behind the other, so that fewer are counted: of short loops more. */
export function copiesOf({ opCount }: EvenLoop): number {
  if (opCount <= 8) return 4;
  return opCount <= 16 ? 2 : 1;
}

export interface QuickRounds {
  readonly rounds: Local<'i32'>;
  /** To be added to the low half of a base's register in each round: gives the host address of its `low`. */
  readonly addends: ReadonlyMap<EvenBase, Local<'i32'>>;
}

/**
 * Bails (`access.bail`) where the TLB does not know a page, where there are few rounds, and where a register that is to be held by its low half
 * is more than that. `most` is how many the budget allows, `live` (a mask) which registers the loop reads, `x` a register's value.
 */
export function countRounds(
  access: InlineAccess,
  loop: EvenLoop,
  most: I32,
  live: number,
  x: (register: number) => I64,
): QuickRounds {
  const { body, bail } = access;
  const rounds = body.local('i32');
  body.set(rounds, most);
  const addends = new Map<EvenBase, Local<'i32'>>();
  for (const base of loop.bases) {
    const { register, table, low, span, stride } = base;
    const va = body.let(x(register).add(low));
    const { entry, at } = tlbEntry(access, table, va);
    body.brIf(bail, tlbTag(access, span, va).ne(load64(entry, at)), false);
    const addend = body.local('i32');
    body.set(addend, load32(entry, at + 8).add(low));
    addends.set(base, addend);
    const more = roundsBehind(access, va, span, stride, x);
    if (!more) continue;
    const sure = body.let(more.add(1));
    body.set(rounds, select(sure.ltU(rounds.value), sure, rounds.value));
  }
  body.brIf(bail, rounds.value.ltU(FEWEST_QUICK_ROUNDS), false);
  for (const { number } of registersOf({ x: loop.narrow & live, f: 0 }))
    body.brIf(bail, x(number).ne(x(number).toI32().toI64S()), false);
  body.set(rounds, rounds.value.and(-copiesOf(loop)));
  return { rounds, addends };
}

/** Where each base's `low` is in a round: so many bytes behind a host address. */
export type Hosts = ReadonlyMap<EvenBase, { readonly host: I32; readonly offset: number }>;

/** Those of the round that begins, `before` being those of the round before in the same go. */
export function hostsIn(
  body: Body,
  addends: QuickRounds['addends'],
  before: Hosts | undefined,
  x: (register: number) => I64,
): Hosts {
  const hosts = new Map<EvenBase, { readonly host: I32; readonly offset: number }>();
  for (const [base, addend] of addends) {
    const last = before?.get(base);
    const step = 'bytes' in base.stride ? base.stride.bytes : -1;
    if (last && step >= 0) hosts.set(base, { host: last.host, offset: last.offset + step });
    else hosts.set(base, { host: body.let(addend.value.add(x(base.register).toI32())), offset: 0 });
  }
  return hosts;
}

/** Rounds behind this one that stay in the page of the leaf `va`; undefined where nothing moves. */
function roundsBehind(
  { body, bail }: InlineAccess,
  va: I64,
  span: number,
  stride: Stride,
  x: (register: number) => I64,
): I32 | undefined {
  const within = va.toI32().and(PAGE_SIZE - 1);
  const room = (): I32 => i32(PAGE_SIZE - span).sub(within);
  if ('register' in stride) {
    const step = x(stride.register);
    // Neither backward, nor so far that a page is left at once.
    body.brIf(bail, step.sub(1).geU(PAGE_SIZE / 2), false);
    return room().divU(step.toI32());
  }
  if (stride.bytes > 0) return room().divU(stride.bytes);
  return stride.bytes < 0 ? within.divU(-stride.bytes) : undefined;
}
