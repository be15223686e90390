/** How many rounds of a loop can go by before any of its even bases (even-loop.ts) comes to another page: computed once before them. */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { Local } from '../../wasm/body.ts';
import { type I32, type I64, i32, select } from '../../wasm/expression.ts';
import { load32, load64 } from '../../wasm/memory-access.ts';
import { type InlineAccess, tlbEntry, tlbTag } from '../inline-memory.ts';
import type { EvenBase, EvenLoop, Stride } from './even-loop.ts';

/** With fewer, counting them costs more than it saves. */
export const FEWEST_QUICK_ROUNDS = 4;

export interface QuickRounds {
  readonly rounds: Local<'i32'>;
  /** To be added to the low half of a base's register in each round: gives the host address of its `low`. */
  readonly addends: ReadonlyMap<EvenBase, Local<'i32'>>;
}

/**
 * Bails (`access.bail`) where the TLB does not know a page, and where there are few rounds. `most` is how many the budget allows, `x` a register's
 * value.
 */
export function countRounds(
  access: InlineAccess,
  loop: EvenLoop,
  most: I32,
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
  return { rounds, addends };
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
