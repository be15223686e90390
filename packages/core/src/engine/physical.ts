/**
 * Guest-physical space in generated code: which addresses are backed by frames, where the frame is, and what PMP allows (Privileged
 * ISA, 3.7). What PMP may close to S and U at all is summarised as one range of pages, so that a fill elsewhere looks at no entry.
 */

import type { Body } from '../wasm/body.ts';
import type { ModuleBuilder, FunctionRef } from '../wasm/module.ts';
import { type I32, type I64, i64, select } from '../wasm/expression.ts';
import { load32, load64, load8U } from '../wasm/memory-access.ts';
import { PMP_ENTRIES, PMP_GRAIN_BITS } from '../isa/csrs.ts';
import type { importHost } from './imports.ts';
import { CONTROL, DERIVED, HART, LINK, PAGE, REGION, REGION_BYTES } from './layout.ts';
import { ACCESS, PRIVILEGE, get32 } from './state.ts';

export interface Physical {
  /** (physical) -> index of its page in the page map, or -1 when no frame backs it. */
  readonly pageIndex: FunctionRef<'i32'>;
  /** (physical) -> 1 when the region may be written. Only for addresses that have a page index. */
  readonly writable: FunctionRef<'i32'>;
  /** (hart, index) -> page map entry of the hart's guest, good for reading. */
  readonly frameForRead: FunctionRef<'i32'>;
  /** (hart, index) -> page map entry good for writing; pre-decoded code of the page is dropped by the caller after the write. */
  readonly frameForWrite: FunctionRef<'i32'>;
  /** (hart, physical, access, privilege) -> 1 when PMP allows the access. */
  readonly allowed: FunctionRef<'i32'>;
}

/** The page map entry of page `index` of the hart's guest. */
export function pageMapEntry(hart: I32, index: I32): I32 {
  return load32(load32(hart, LINK.pageMap).add(index.shl(2)));
}

/** The number of a page map entry's frame, which the tables of frames are indexed by. */
export function frameNumber(entry: I32): I32 {
  return entry.shrU(12);
}

export function definePhysical(module: ModuleBuilder, imports: ReturnType<typeof importHost>): Physical {
  /** Runs over the regions; `result` is what the found region gives. */
  const overRegions = (name: string, result: 'index' | 'writable'): FunctionRef<'i32'> =>
    module.function(name, ['i64'], ['i32'], (b, { value: physical }) => {
      const page = b.let(physical.shrU(12));
      const region = b.local('i32');
      const end = b.let(load32(CONTROL.regionCount).mul(REGION_BYTES).add(CONTROL.regions));
      b.set(region, CONTROL.regions);
      b.loop((again) => {
        const offset = b.let(page.sub(load64(region.value, REGION.FIRST)));
        b.if(offset.ltU(load64(region.value, REGION.COUNT)), () => {
          if (result === 'writable') b.return(load32(region.value, REGION.WRITABLE));
          else b.return(offset.toI32().add(load32(region.value, REGION.INDEX)));
        });
        b.set(region, region.value.add(REGION_BYTES));
        b.brIf(again, region.value.ltU(end));
      });
      b.result(result === 'index' ? -1 : 0);
    });
  const pageIndex = overRegions('pageIndex', 'index');
  const writable = overRegions('pageWritable', 'writable');

  const frameFor = (name: string, flag: number, forWrite: 0 | 1): FunctionRef<'i32'> =>
    module.function(name, ['i32', 'i32'], ['i32'], (b, { value: hart }, { value: index }) => {
      const entry = b.let(pageMapEntry(hart, index));
      b.if(entry.and(flag).ne(0), () => b.return(entry));
      b.result(b.call(imports.frame, index, forWrite));
    });
  const frameForRead = frameFor('frameForRead', PAGE.PRESENT, 0);
  const frameForWrite = frameFor('frameForWrite', PAGE.WRITABLE, 1);

  const summarise = definePmpSummary(module);

  const allowed = module.function(
    'pmpAllowed',
    ['i32', 'i64', 'i32', 'i32'],
    ['i32'],
    (b, hartLocal, physical, access, privilege) => {
      const hart = hartLocal.value;
      // Without an active entry everything is allowed to M and denied to S and U, as 3.7.1 says for a hart that implements PMP.
      b.if(get32(hart, 'pmpActive').eqz(), () => b.return(privilege.value.eq(PRIVILEGE.M)));
      b.if(privilege.value.ne(PRIVILEGE.M), () => {
        b.do(summarise, hart);
        const page = b.let(physical.value.shrU(12));
        b.if(page.ltU(SUMMARISED_PAGES).and(isMaybeClosed(hart, page).eqz()), () => b.return(1));
      });
      const word = b.let(physical.value.shrU(2));
      const index = b.local('i32');
      const previous = b.local('i64');
      b.loop((again) => {
        const { config, mode, address, bound } = pmpEntry(b, hart, index.value);
        const hit = b.local('i32');
        b.set(hit, 0);
        b.if(mode.eq(PMP_MODE.TOR), () => b.set(hit, word.geU(previous.value).and(word.ltU(address))));
        // NAPOT: the trailing ones of the address, and one bit more, are free. NA4 does not exist with this grain.
        b.if(mode.eq(PMP_MODE.NAPOT), () => {
          const free = b.let(address.xor(address.add(1)));
          b.set(
            hit,
            word
              .xor(address)
              .and(free.xor(i64(-1n)))
              .eqz(),
          );
        });
        b.if(hit.value, () => {
          const locked = config.shrU(7);
          b.if(privilege.value.eq(PRIVILEGE.M).and(locked.eqz()), () => b.return(1));
          // Bits of pmpcfg: R 0, W 1, X 2; accesses: fetch 0, load 1, store 2.
          const bit = b.local('i32');
          b.set(bit, 2);
          b.if(access.value.eq(ACCESS.LOAD), () => b.set(bit, 0));
          b.if(access.value.eq(ACCESS.STORE), () => b.set(bit, 1));
          b.return(config.shrU(bit.value).and(1));
        });
        b.set(previous, bound);
        b.set(index, index.value.add(1));
        b.brIf(again, index.value.ltU(PMP_ENTRIES));
      });
      b.result(privilege.value.eq(PRIVILEGE.M));
    },
  );

  return { pageIndex, writable, frameForRead, frameForWrite, allowed };
}

/** pmpcfg.A: how an entry's address is meant. */
const PMP_MODE = { TOR: 1, NAPOT: 3 } as const;
/** pmpcfg.R, W and X. */
const PMP_ALL = 7;
/** The summary speaks of the lower half of the physical space, of 56 bits: a TOR entry cannot reach the last page of it all. */
const SUMMARISED_PAGES = 1n << 43n;

/** Entry `index`, its address as the grain makes it: below it NAPOT sees ones and TOR zeros. `bound` is where a TOR entry behind it begins. */
function pmpEntry(b: Body, hart: I32, index: I32): { config: I32; mode: I32; address: I64; bound: I64 } {
  const config = b.let(load8U(hart.add(index), HART.pmpcfg));
  const mode = b.let(config.shrU(3).and(3));
  const stored = b.let(load64(hart.add(index.shl(3)), HART.pmpaddr));
  const bound = b.let(stored.and(-1n << BigInt(PMP_GRAIN_BITS)));
  const address = b.let(select(mode.eq(PMP_MODE.NAPOT), stored.or((1n << BigInt(PMP_GRAIN_BITS - 1)) - 1n), bound));
  return { config, mode, address, bound };
}

/** Whether PMP may close the page `page`, a leaf, to S or U in some way: of the summarised ones, and once the summary is known, as after any walk. */
export function isMaybeClosed(hart: I32, page: I64): I32 {
  return page.sub(load64(hart, DERIVED.closedFirst)).ltU(load64(hart, DERIVED.closedCount));
}

/**
 * (hart) makes the summary known: entries by priority up to the first that gives all rights to the whole space. The pages from the first to the
 * last of those before it that give less may be closed; all pages, when there is no such entry.
 */
function definePmpSummary(module: ModuleBuilder): FunctionRef {
  return module.function('pmpSummarise', ['i32'], [], (b, { value: hart }) => {
    b.if(load32(hart, DERIVED.closedKnown), () => b.return());
    b.store32(hart, 1, DERIVED.closedKnown);
    const index = b.local('i32');
    const previous = b.local('i64');
    const [first, end] = [b.local('i64'), b.local('i64')];
    b.set(first, SUMMARISED_PAGES);
    const keep = (from: I64 | bigint, to: I64 | bigint): void => {
      b.store64(hart, from, DERIVED.closedFirst);
      b.store64(hart, to, DERIVED.closedCount);
    };
    b.loop((again) => {
      const { config, mode, address, bound } = pmpEntry(b, hart, index.value);
      const [low, high] = [b.local('i64'), b.local('i64')];
      b.set(low, 0);
      b.set(high, 0);
      // Addresses are in words of four bytes: ten bits more than pages.
      b.if(mode.eq(PMP_MODE.TOR), () => {
        b.set(low, previous.value.shrU(10));
        b.set(high, address.shrU(10));
      });
      b.if(mode.eq(PMP_MODE.NAPOT), () => {
        const free = b.let(address.xor(address.add(1)));
        b.set(low, address.and(free.xor(-1n)).shrU(10));
        b.set(high, address.or(free).add(1).shrU(10));
      });
      b.if(low.value.ltU(high.value), () => {
        const isAll = config.and(PMP_ALL).eq(PMP_ALL);
        b.if(
          isAll,
          () =>
            b.if(low.value.eqz().and(high.value.geU(SUMMARISED_PAGES)), () => {
              b.if(
                end.value.eqz(),
                () => keep(0n, 0n),
                () => keep(first.value, end.value.sub(first.value)),
              );
              b.return();
            }),
          () => {
            b.set(first, select(low.value.ltU(first.value), low.value, first.value));
            b.set(end, select(high.value.gtU(end.value), high.value, end.value));
          },
        );
      });
      b.set(previous, bound);
      b.set(index, index.value.add(1));
      b.brIf(again, index.value.ltU(PMP_ENTRIES));
    });
    keep(0n, SUMMARISED_PAGES);
  });
}
