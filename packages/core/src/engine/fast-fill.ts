/**
 * TLB fills of the common kind: the walk cache knows the last table, its entry gives the right outright, the page is one of RAM with a frame,
 * to be written to one of its own, and PMP closes nothing there. Whatever is not so takes the complete way (mmu.ts), which alone raises traps, changes A and D, makes
 * frames and asks JavaScript. What is entered here is what the complete way would have entered.
 *
 *     va ──> walk cache ──> leaf: rights, A, D ──> PMP open? ──> RAM? ──> page map: own frame? ──> TLB entry
 *               └──────────────┴──────────────────────┴────────────┴───────────┴──> "not here"
 */

import { MSTATUS } from '../isa/csrs.ts';
import type { Body, Label } from '../wasm/body.ts';
import { type I32, type I64, i64 } from '../wasm/expression.ts';
import { load16U, load32, load64 } from '../wasm/memory-access.ts';
import type { FunctionRef, GlobalRef, ModuleBuilder } from '../wasm/module.ts';
import { type Contexts, tlbEntry } from './contexts.ts';
import {
  CONTROL,
  DERIVED,
  FETCH_TLB_ENTRIES,
  LINK,
  MACHINE_CONTEXT,
  MANY_ENTRIES,
  PAGE,
  REGION,
  SHARED_PLACES,
  TLB_ENTRIES,
  TLB_FETCH,
  TLB_READ,
  TLB_WRITE,
} from './layout.ts';
import { frameNumber, isMaybeClosed, pageMapEntry } from './physical.ts';
import { count, get32, get64 } from './state.ts';
import { cachedLeaf } from './walk-cache.ts';

/** Bits of a page table entry. */
const V = 1;
const R = 2;
const W = 4;
const X = 8;
const U = 16;
const G = 32;
const A = 64;
const D = 128;
/** Reserved, memory type, NAPOT: the complete walk knows what to make of them. */
const SPECIAL_BITS = 0x3ffn << 54n;

export interface FastFill {
  /** (hart, va) -> host address to read va at, after entering its page into the read TLB, or 0: not here. */
  readonly read: FunctionRef<'i32'>;
  /** (hart, va) -> host address to write va at, or 0. The page is entered into the write TLB unless it is watched: see `watched`. */
  readonly write: FunctionRef<'i32'>;
  /** After `write`: the index of the page if it is watched, else -1. */
  readonly watched: GlobalRef<'i32'>;
  /** (hart, pc) -> 1 after entering pc's page into the fetch TLB, or 0. */
  readonly fetch: FunctionRef<'i32'>;
}

interface Found {
  /** Index of the page in the page map. */
  readonly index: I32;
  /** Set when S-mode reaches a user page. */
  readonly borrows: I32;
}

/**
 * Another thread may have begun to watch the page of `va` while it was entered into the write TLB, and have missed the new entry: either it
 * sees the entry, or this sees the flag in `map`.
 */
export function keepUnlessWatched(b: Body, hart: I32, va: I64, map: I32, otherwise: () => void): void {
  b.atomicFence();
  b.if(
    map.and(PAGE.WATCHED),
    () => {
      b.store64(tlbEntry(hart, va, TLB_WRITE, TLB_ENTRIES), 0);
      otherwise();
    },
    undefined,
    false,
  );
}

/** The read TLB gets `va` with the page map entry `map`, leaves: who writes to a frame that may not be written to has to find it there. */
export function noteShared(b: Body, hart: I32, va: I64, map: I32): void {
  b.if(
    map.and(PAGE.WRITABLE).eqz(),
    () => {
      const place = b.let(
        hart.add(
          frameNumber(map)
            .and(SHARED_PLACES - 1)
            .shl(1),
        ),
      );
      const known = b.let(load16U(place, DERIVED.sharedEntries));
      const entry = b.let(
        va
          .shrU(12)
          .toI32()
          .and(TLB_ENTRIES - 1)
          .add(1),
      );
      b.if(known.ne(entry), () =>
        b.if(
          known.eqz(),
          () => b.store16(place, entry, DERIVED.sharedEntries),
          () => b.store16(place, MANY_ENTRIES, DERIVED.sharedEntries),
        ),
      );
    },
    undefined,
    false,
  );
}

export function defineFastFill(module: ModuleBuilder, contexts: Contexts, isThreaded: boolean): FastFill {
  /** The page of RAM that `va` is mapped to with all of `rights`; goes to `absent` when that is not plain to see. */
  const find = (b: Body, hart: I32, va: I64, context: I32, rights: number, absent: Label): Found => {
    b.brIf(absent, context.eq(MACHINE_CONTEXT), false);
    const leaf = b.let(cachedLeaf(b, hart, va, absent));
    b.brIf(absent, leaf.and(SPECIAL_BITS | BigInt(rights)).ne(i64(rights)), false);
    // W without R is reserved (10.3.1); only who fetches does not ask for R.
    if ((rights & R) === 0)
      b.brIf(
        absent,
        leaf
          .toI32()
          .and(R | W)
          .eq(W),
        false,
      );
    const isUser = b.let(context.eq(get32(hart, 'contextU')));
    const borrows = b.let(leaf.shrU(4).toI32().and(1).xor(isUser));
    b.if(
      borrows,
      // A page of S-mode for U-mode, or one of U-mode for S-mode: never to fetch, and else only under SUM.
      () => {
        if (rights & X) b.br(absent);
        else b.brIf(absent, isUser.or(get64(hart, 'mstatus').and(MSTATUS.SUM).eqz()));
      },
      undefined,
      false,
    );
    // S-mode's shared context is for global pages.
    const isPrivate = leaf
      .toI32()
      .and(U | G)
      .eqz();
    b.brIf(absent, isPrivate.and(context.eq(load32(hart, DERIVED.sharedContext))), false);
    const page = b.let(leaf.shrU(10));
    b.brIf(absent, isMaybeClosed(hart, page), false);
    const index = b.let(page.sub(load64(CONTROL.regions, REGION.FIRST)));
    b.brIf(absent, index.geU(load64(CONTROL.regions, REGION.COUNT)), false);
    return { index: b.let(index.toI32()), borrows };
  };

  const enter = (b: Body, hart: I32, va: I64, table: number, context: I32, frame: I32, borrows: I32): void => {
    count(b, hart, 'tlbMisses');
    const entry = b.let(tlbEntry(hart, va, table, TLB_ENTRIES));
    const page = b.let(va.and(-4096n));
    b.store64(entry, page.or(context.toI64U()));
    b.store32(entry, frame.sub(page.toI32()), 8);
    b.if(borrows, () => b.do(contexts.borrow, hart, entry), undefined, false);
  };

  const inPage = (frame: I32, va: I64): I32 => frame.add(va.toI32().and(PAGE.MASK));

  const read = module.function('fillRead', ['i32', 'i64'], ['i32'], (b, { value: hart }, { value: va }) => {
    b.block((absent) => {
      const context = b.let(get32(hart, 'dataContext'));
      const { index, borrows } = find(b, hart, va, context, V | R | A, absent);
      const map = b.let(pageMapEntry(hart, index));
      b.brIf(absent, map.and(PAGE.PRESENT).eqz(), false);
      noteShared(b, hart, va, map);
      const frame = b.let(map.and(~PAGE.MASK));
      enter(b, hart, va, TLB_READ, context, frame, borrows);
      b.return(inPage(frame, va));
    });
    b.result(0);
  });

  const watched = module.global('i32');
  const write = module.function('fillWrite', ['i32', 'i64'], ['i32'], (b, { value: hart }, { value: va }) => {
    b.block((absent) => {
      const context = b.let(get32(hart, 'dataContext'));
      const { index, borrows } = find(b, hart, va, context, V | R | W | A | D, absent);
      const map = b.let(pageMapEntry(hart, index));
      b.brIf(absent, map.and(PAGE.WRITABLE).eqz().or(load32(CONTROL.regions, REGION.WRITABLE).eqz()), false);
      const frame = b.let(map.and(~PAGE.MASK));
      b.if(
        map.and(PAGE.WATCHED).eqz(),
        () => {
          enter(b, hart, va, TLB_WRITE, context, frame, borrows);
          b.setGlobal(watched, -1);
          if (isThreaded) keepUnlessWatched(b, hart, va, pageMapEntry(hart, index), () => b.setGlobal(watched, index));
        },
        () => b.setGlobal(watched, index),
        true,
      );
      b.return(inPage(frame, va));
    });
    b.result(0);
  });

  const fetch = module.function('fillFetch', ['i32', 'i64'], ['i32'], (b, { value: hart }, { value: va }) => {
    b.block((absent) => {
      const context = b.let(get32(hart, 'fetchContext'));
      const { index } = find(b, hart, va, context, V | X | A, absent);
      const map = b.let(pageMapEntry(hart, index));
      b.brIf(absent, map.and(PAGE.PRESENT).eqz(), false);
      const place = b.let(frameNumber(map).shl(2));
      const code = b.let(load32(load32(hart, LINK.codeMap).add(place)));
      const heat = b.let(load32(load32(hart, LINK.heatMap).add(place)));
      b.brIf(absent, code.eqz().or(heat.eqz()), false);
      const entry = b.let(tlbEntry(hart, va, TLB_FETCH, FETCH_TLB_ENTRIES));
      b.store64(entry, va.and(-4096n).or(context.toI64U()));
      b.store32(entry, code, 8);
      b.store32(entry, heat, 12);
      b.return(1);
    });
    b.result(0);
  });

  return { read, write, watched, fetch };
}
