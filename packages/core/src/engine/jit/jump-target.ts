/** What compiled code asks the fetch TLB: where jumps go. The heat page that an entry has says which functions are compiled in that page. */

import type { Body } from '../../wasm/body.ts';
import { type I32, type I64, i32 } from '../../wasm/expression.ts';
import { load16U, load32, load64 } from '../../wasm/memory-access.ts';
import { FETCH_TLB_ENTRIES, TLB_ENTRY_BYTES, TLB_FETCH, hartBase } from '../layout.ts';
import { get32 } from '../state.ts';

export interface Fetching {
  readonly body: Body;
  readonly hart: I32;
  /** One hart only: its state is in one place. */
  readonly isAlone: boolean;
}

/** The fetch TLB's entry for the leaf `va`: an address, and a constant to add to it. */
function fetchEntry({ body, hart, isAlone }: Fetching, va: I64): { readonly entry: I32; readonly at: number } {
  const offset = va
    .toI32()
    .shrU(12 - Math.log2(TLB_ENTRY_BYTES))
    .and((FETCH_TLB_ENTRIES - 1) * TLB_ENTRY_BYTES);
  if (isAlone) return { entry: body.let(offset), at: hartBase(0) + TLB_FETCH };
  return { entry: body.let(hart.add(offset)), at: TLB_FETCH };
}

/** Whether the leaf `page`, a page's address, can be fetched from, and has the heat page `heatPage`. */
export function isCodeMapped(fetching: Fetching, page: I64, heatPage: number): I32 {
  const { entry, at } = fetchEntry(fetching, page);
  return load64(entry, at)
    .eq(page.or(get32(fetching.hart, 'fetchContext').toI64U()))
    .and(load32(entry, at + 12).eq(heatPage));
}

/** Where a jump out of a region goes; both may be used many times. */
export interface JumpTarget {
  readonly va: I64;
  /** The number of the function compiled there, or of one that leaves. */
  readonly index: I32;
}

/** The target at `va`; `cell` is the address of its heat cell where its page is surely mapped as it was when the region was made. */
export function jumpTarget(fetching: Fetching, va: I64, cell?: number): JumpTarget {
  const { body } = fetching;
  const target = body.let(va);
  const index = cell === undefined ? functionAt(fetching, target) : body.let(load16U(i32(0), cell));
  return { va: target, index };
}

/** The number of the function compiled at the leaf `target`, or one that leaves. */
function functionAt(fetching: Fetching, target: I64): I32 {
  const { body, hart } = fetching;
  const { entry, at } = fetchEntry(fetching, target);
  const found = body.local('i32');
  body.set(found, 0);
  body.if(
    load64(entry, at).eq(target.and(-4096n).or(get32(hart, 'fetchContext').toI64U())),
    () => body.set(found, load16U(load32(entry, at + 12).add(target.toI32().and(0xffe)))),
    undefined,
    true,
  );
  return found.value;
}
