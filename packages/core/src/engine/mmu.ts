/**
 * Memory accesses that the inline TLB check did not answer: TLB fills, accesses that cross a page, MMIO, pages whose code is watched,
 * and the faults. Each function either does the whole access or raises the trap, so that the caller only looks at a status.
 *
 *     va ──> translate ──┬─ fault ─────────────> trap, status 1
 *                        ├─ RAM ──> frame ──> TLB entry (unless watched) ──> access
 *                        └─ else ─> the bus (JS) ──┬─ answered
 *                                                  └─ access fault ──> trap, status 1
 */

import type { Body } from '../wasm/body.ts';
import type { FunctionRef, ModuleBuilder } from '../wasm/module.ts';
import { type I32, type I64, i64, select } from '../wasm/expression.ts';
import { load16UTo64, load32, load32UTo64, load64, load8UTo64 } from '../wasm/memory-access.ts';
import { type Contexts, tlbEntry } from './contexts.ts';
import { type FastFill, defineFastFill, keepUnlessWatched, noteShared } from './fast-fill.ts';
import type { importHost } from './imports.ts';
import {
  CONTROL,
  DERIVED,
  FETCH_TLB_ENTRIES,
  LINK,
  LINE_BITS,
  PAGE,
  TLB_ENTRIES,
  TLB_FETCH,
  TLB_READ,
  TLB_WRITE,
} from './layout.ts';
import { type Physical, frameNumber, pageMapEntry } from './physical.ts';
import { ACCESS, CAUSE, PRIVILEGE, count, get32, get64, put64 } from './state.ts';
import type { Traps } from './traps.ts';
import type { Walk } from './walk.ts';

export interface Mmu {
  /** (hart, va, bytes) -> 0 with the zero-extended value in hart.value, or 1 after a trap. */
  readonly load: FunctionRef<'i32'>;
  /** (hart, va, bytes) stores hart.value -> 0, or 1 after a trap. */
  readonly store: FunctionRef<'i32'>;
  /**
   * (hart, va, bytes, forWrite) -> host address for an atomic access, or 0 after a trap. Misaligned and MMIO accesses trap. Afterwards
   * `fill.watched` is the page that `written` must hear of when the access is done, or -1.
   */
  readonly atomicHost: FunctionRef<'i32'>;
  /** (hart, va) -> 0 when va can be read, or 1 after the trap that a store would have taken (for cache-block operations). */
  readonly reach: FunctionRef<'i32'>;
  /** (hart) -> 0 after entering hart.pc's page into the fetch TLB, or 1 after a trap. */
  readonly fetch: FunctionRef<'i32'>;
  /** (hart, va) -> the halfword of code there, or -1 after a trap whose tval is va. */
  readonly fetchHalf: FunctionRef<'i32'>;
  /** (hart, va) -> the same without a trap: -1 when it cannot be read. */
  readonly peekHalf: FunctionRef<'i32'>;
  /** What is tried before the complete way. */
  readonly fill: FastFill;
  /** Enters the frame of a page map entry, a leaf, for reading or for writing. */
  readonly enterRead: (b: Body, hart: I32, va: I64, entry: I32) => void;
  readonly enterWrite: (b: Body, hart: I32, va: I64, entry: I32) => void;
  /** Whether writes to page `index` have to be told. */
  readonly isWatched: (hart: I32, index: I32) => I32;
  /** (hart, index, offset, bytes): a store of ours, not through the TLB, hit page `index`: what was made of its code is void. */
  readonly written: FunctionRef;
}

/** The zero-extended bytes at `host` into hart.value. */
function loadValue(b: Body, hart: I32, host: I32, bytes: I32): void {
  b.if(bytes.eq(8), () => put64(b, hart, 'value', load64(host)));
  b.if(bytes.eq(4), () => put64(b, hart, 'value', load32UTo64(host)));
  b.if(bytes.eq(2), () => put64(b, hart, 'value', load16UTo64(host)));
  b.if(bytes.eq(1), () => put64(b, hart, 'value', load8UTo64(host)));
}

/** hart.value to `host`. */
function storeValue(b: Body, hart: I32, host: I32, bytes: I32): void {
  b.if(bytes.eq(8), () => b.store64(host, get64(hart, 'value')));
  b.if(bytes.eq(4), () => b.store32Of64(host, get64(hart, 'value')));
  b.if(bytes.eq(2), () => b.store16Of64(host, get64(hart, 'value')));
  b.if(bytes.eq(1), () => b.store8Of64(host, get64(hart, 'value')));
}

export function defineMmu(
  module: ModuleBuilder,
  imports: ReturnType<typeof importHost>,
  physical: Physical,
  walk: Walk,
  contexts: Contexts,
  traps: Traps,
  isThreaded: boolean,
): Mmu {
  const fill = defineFastFill(module, contexts, isThreaded);

  const enterTlb = (
    b: Body,
    hart: I32,
    va: I64,
    table: number,
    entries: number,
    payload: I32,
    context: 'dataContext' | 'fetchContext',
  ): void => {
    b.if(get32(hart, 'walkPrivate').and(get32(hart, context).eq(load32(hart, DERIVED.sharedContext))), () =>
      b.do(contexts.leaveShared, hart),
    );
    const entry = b.let(tlbEntry(hart, va, table, entries));
    b.store64(entry, va.and(-4096n).or(get32(hart, context).toI64U()));
    b.store32(entry, payload, 8);
    b.if(get32(hart, 'walkUser').and(get32(hart, 'privilege').ne(PRIVILEGE.U)), () =>
      b.do(contexts.borrow, hart, entry),
    );
  };

  /** Enters the frame of the page map entry `entry`, a leaf, for reading. */
  const enterRead = (b: Body, hart: I32, va: I64, entry: I32): void => {
    noteShared(b, hart, va, entry);
    const addend = entry.and(~PAGE.MASK).sub(va.and(-4096n).toI32());
    enterTlb(b, hart, va, TLB_READ, TLB_ENTRIES, addend, 'dataContext');
  };

  const enterWrite = (b: Body, hart: I32, va: I64, entry: I32): void => {
    const addend = entry.and(~PAGE.MASK).sub(va.and(-4096n).toI32());
    enterTlb(b, hart, va, TLB_WRITE, TLB_ENTRIES, addend, 'dataContext');
  };

  const written = module.function(
    'codeMaybeWritten',
    ['i32', 'i32', 'i32', 'i32'],
    [],
    (b, { value: hart }, { value: index }, { value: offset }, { value: bytes }) => {
      // Who has just begun to watch the page sees what was stored, or is seen here.
      if (isThreaded) b.atomicFence();
      const map = b.let(pageMapEntry(hart, index));
      b.if(map.and(PAGE.WATCHED), () => {
        const frame = b.let(frameNumber(map));
        const lines = load64(load32(CONTROL.lineMap).add(frame.shl(3)));
        const line = (at: I32): I64 => i64(1).shl(at.shrU(LINE_BITS).toI64U());
        const touched = line(offset).or(line(b.let(offset.add(bytes).sub(1))));
        b.if(lines.and(touched).ne(0), () => b.do(imports.codeWritten, frame, offset, bytes), undefined, false);
      });
    },
  );

  /** Translates and gives the physical address, or traps with tval = va and returns from the function under construction. */
  const physicalOrTrap = (b: Body, hart: I32, va: I64, access: number, onTrap: () => void): I64 => {
    const address = b.let(b.call(walk.translate, hart, va, access));
    b.if(address.eq(-1n), () => {
      b.do(traps.raise, hart, b.getGlobal(walk.fault), va);
      onTrap();
    });
    return address;
  };

  /** An access that a page boundary splits: both pages are translated before a byte moves, then byte by byte. */
  const crosses = (va: I64, bytes: I32): I32 => va.toI32().and(PAGE.MASK).add(bytes).gtU(4096);

  const loadWhole = module.declare('loadWhole', ['i32', 'i64', 'i32'], ['i32']);
  const storeWhole = module.declare('storeWhole', ['i32', 'i64', 'i32'], ['i32']);

  const load = module.function('loadSlow', ['i32', 'i64', 'i32'], ['i32'], (b, hartLocal, vaLocal, bytesLocal) => {
    const [hart, va, bytes] = [hartLocal.value, vaLocal.value, bytesLocal.value];
    b.if(crosses(va, bytes).eqz(), () => {
      const host = b.let(b.call(fill.read, hart, va));
      b.if(host.eqz(), () => b.return(b.call(loadWhole, hart, va, bytes)), undefined, false);
      loadValue(b, hart, host, bytes);
      b.return(0);
    });
    const position = b.local('i32');
    const result = b.local('i64');
    b.loop((again) => {
      b.if(b.call(loadWhole, hart, va.add(position.value.toI64U()), 1), () => b.return(1));
      b.set(result, result.value.or(get64(hart, 'value').shl(position.value.shl(3).toI64U())));
      b.set(position, position.value.add(1));
      b.brIf(again, position.value.ltU(bytes));
    });
    put64(b, hart, 'value', result.value);
    b.result(0);
  });

  module.define(loadWhole, (b, hartLocal, vaLocal, bytesLocal) => {
    const [hart, va, bytes] = [hartLocal.value, vaLocal.value, bytesLocal.value];
    const address = physicalOrTrap(b, hart, va, ACCESS.LOAD, () => b.return(1));
    const index = b.let(b.call(physical.pageIndex, address));
    b.if(index.ne(-1), () => {
      count(b, hart, 'tlbMisses');
      const entry = b.let(b.call(physical.frameForRead, hart, index));
      const frame = b.let(entry.and(~PAGE.MASK));
      enterRead(b, hart, va, entry);
      const host = b.let(frame.add(va.toI32().and(PAGE.MASK)));
      loadValue(b, hart, host, bytes);
      b.return(0);
    });
    count(b, hart, 'mmioAccesses');
    b.if(b.call(imports.mmioLoad, hart, address.toI32(), address.shrU(32).toI32(), bytes), () => b.return(0));
    b.do(traps.raise, hart, CAUSE.LOAD_ACCESS, va);
    b.result(1);
  });

  const store = module.function('storeSlow', ['i32', 'i64', 'i32'], ['i32'], (b, hartLocal, vaLocal, bytesLocal) => {
    const [hart, va, bytes] = [hartLocal.value, vaLocal.value, bytesLocal.value];
    b.if(crosses(va, bytes).eqz(), () => {
      const host = b.let(b.call(fill.write, hart, va));
      b.if(host.eqz(), () => b.return(b.call(storeWhole, hart, va, bytes)), undefined, false);
      storeValue(b, hart, host, bytes);
      const watched = b.let(b.getGlobal(fill.watched));
      b.if(watched.ne(-1), () => b.do(written, hart, watched, va.toI32().and(PAGE.MASK), bytes), undefined, false);
      b.return(0);
    });
    // Nothing is written unless both pages can be.
    physicalOrTrap(b, hart, va, ACCESS.STORE, () => b.return(1));
    const second = b.let(va.or(4095).add(1));
    physicalOrTrap(b, hart, second, ACCESS.STORE, () => b.return(1));
    const value = b.let(get64(hart, 'value'));
    const position = b.local('i32');
    b.loop((again) => {
      put64(b, hart, 'value', value.shrU(position.value.shl(3).toI64U()));
      b.if(b.call(storeWhole, hart, va.add(position.value.toI64U()), 1), () => b.return(1));
      b.set(position, position.value.add(1));
      b.brIf(again, position.value.ltU(bytes));
    });
    b.result(0);
  });

  module.define(storeWhole, (b, hartLocal, vaLocal, bytesLocal) => {
    const [hart, va, bytes] = [hartLocal.value, vaLocal.value, bytesLocal.value];
    const address = physicalOrTrap(b, hart, va, ACCESS.STORE, () => b.return(1));
    const index = b.let(b.call(physical.pageIndex, address));
    b.if(index.ne(-1), () => {
      count(b, hart, 'tlbMisses');
      b.if(b.call(physical.writable, address).eqz(), () => {
        b.do(traps.raise, hart, CAUSE.STORE_ACCESS, va);
        b.return(1);
      });
      const entry = b.let(b.call(physical.frameForWrite, hart, index));
      const frame = b.let(entry.and(~PAGE.MASK));
      const host = b.let(frame.add(va.toI32().and(PAGE.MASK)));
      storeValue(b, hart, host, bytes);
      b.do(written, hart, index, va.toI32().and(PAGE.MASK), bytes);
      b.if(isWatched(hart, index).eqz(), () => {
        enterTlb(b, hart, va, TLB_WRITE, TLB_ENTRIES, frame.sub(va.and(-4096n).toI32()), 'dataContext');
        if (isThreaded) keepUnlessWatched(b, hart, va, pageMapEntry(hart, index), () => {});
      });
      b.return(0);
    });
    count(b, hart, 'mmioAccesses');
    b.if(b.call(imports.mmioStore, hart, address.toI32(), address.shrU(32).toI32(), bytes), () => b.return(0));
    b.do(traps.raise, hart, CAUSE.STORE_ACCESS, va);
    b.result(1);
  });

  const atomicHost = module.function(
    'atomicHost',
    ['i32', 'i64', 'i32', 'i32'],
    ['i32'],
    (b, hartLocal, vaLocal, bytesLocal, forWrite) => {
      const [hart, va, bytes] = [hartLocal.value, vaLocal.value, bytesLocal.value];
      const cause = (whenStore: number, whenLoad: number): I32 => whenStoreElse(forWrite.value, whenStore, whenLoad);
      b.if(va.toI32().and(bytes.sub(1)).ne(0), () => {
        b.do(traps.raise, hart, cause(CAUSE.STORE_MISALIGNED, CAUSE.LOAD_MISALIGNED), va);
        b.return(0);
      });
      const filled = b.local('i32');
      b.if(
        forWrite.value,
        () => b.set(filled, b.call(fill.write, hart, va)),
        () => {
          b.setGlobal(fill.watched, -1);
          b.set(filled, b.call(fill.read, hart, va));
        },
      );
      b.if(filled.value, () => b.return(filled.value), undefined, true);
      const address = b.let(b.call(walk.translate, hart, va, cause(ACCESS.STORE, ACCESS.LOAD)));
      b.if(address.eq(-1n), () => {
        b.do(traps.raise, hart, b.getGlobal(walk.fault), va);
        b.return(0);
      });
      const index = b.let(b.call(physical.pageIndex, address));
      const usable = b.local('i32');
      b.if(index.ne(-1), () => b.set(usable, forWrite.value.eqz().or(b.call(physical.writable, address))));
      b.if(usable.value.eqz(), () => {
        b.do(traps.raise, hart, cause(CAUSE.STORE_ACCESS, CAUSE.LOAD_ACCESS), va);
        b.return(0);
      });
      count(b, hart, 'tlbMisses');
      const entry = b.local('i32');
      b.if(
        forWrite.value,
        () => {
          b.set(entry, b.call(physical.frameForWrite, hart, index));
          b.setGlobal(fill.watched, index);
        },
        () => {
          b.set(entry, b.call(physical.frameForRead, hart, index));
          b.setGlobal(fill.watched, -1);
        },
      );
      const frame = b.let(entry.value.and(~PAGE.MASK));
      const addend = b.let(frame.sub(va.and(-4096n).toI32()));
      b.if(
        forWrite.value,
        () =>
          b.if(isWatched(hart, index).eqz(), () => {
            enterTlb(b, hart, va, TLB_WRITE, TLB_ENTRIES, addend, 'dataContext');
            b.setGlobal(fill.watched, -1);
            if (isThreaded)
              keepUnlessWatched(b, hart, va, pageMapEntry(hart, index), () => b.setGlobal(fill.watched, index));
          }),
        () => enterRead(b, hart, va, entry.value),
      );
      b.result(frame.add(va.toI32().and(PAGE.MASK)));
    },
  );

  const reach = module.function('reach', ['i32', 'i64'], ['i32'], (b, { value: hart }, { value: va }) => {
    b.if(b.call(walk.translate, hart, va, ACCESS.LOAD).ne(-1n), () => b.return(0));
    // Load page fault 13 -> store page fault 15, load access fault 5 -> store access fault 7.
    b.do(traps.raise, hart, b.getGlobal(walk.fault).add(2), va);
    b.result(1);
  });

  const fetch = module.function('fetchMiss', ['i32'], ['i32'], (b, { value: hart }) => {
    count(b, hart, 'fetchMisses');
    const pc = b.let(get64(hart, 'pc'));
    b.if(b.call(fill.fetch, hart, pc), () => b.return(0), undefined, true);
    const address = physicalOrTrap(b, hart, pc, ACCESS.FETCH, () => b.return(1));
    const index = b.let(b.call(physical.pageIndex, address));
    b.if(index.eq(-1), () => {
      b.do(traps.raise, hart, CAUSE.FETCH_ACCESS, pc);
      b.return(1);
    });
    const frame = b.let(frameNumber(b.call(physical.frameForRead, hart, index)));
    const code = b.local('i32');
    b.set(code, load32(load32(hart, LINK.codeMap).add(frame.shl(2))));
    b.if(code.value.eqz(), () => b.set(code, b.call(imports.codePage, frame)));
    const heat = b.local('i32');
    b.set(heat, load32(load32(hart, LINK.heatMap).add(frame.shl(2))));
    b.if(heat.value.eqz(), () => b.set(heat, b.call(imports.heatPage, frame)));
    enterTlb(b, hart, pc, TLB_FETCH, FETCH_TLB_ENTRIES, code.value, 'fetchContext');
    b.store32(tlbEntry(hart, pc, TLB_FETCH, FETCH_TLB_ENTRIES), heat.value, 12);
    b.result(0);
  });

  const peekHalf = module.function('peekHalf', ['i32', 'i64'], ['i32'], (b, { value: hart }, { value: va }) => {
    const address = b.let(b.call(walk.translate, hart, va, ACCESS.FETCH));
    b.if(address.eq(-1n), () => b.return(-1));
    const index = b.let(b.call(physical.pageIndex, address));
    b.if(index.eq(-1), () => {
      b.setGlobal(walk.fault, CAUSE.FETCH_ACCESS);
      b.return(-1);
    });
    b.result(
      load16UTo64(b.call(physical.frameForRead, hart, index).and(~PAGE.MASK).add(va.toI32().and(PAGE.MASK))).toI32(),
    );
  });

  const fetchHalf = module.function('fetchHalf', ['i32', 'i64'], ['i32'], (b, { value: hart }, { value: va }) => {
    const half = b.let(b.call(peekHalf, hart, va));
    b.if(half.eq(-1), () => b.do(traps.raise, hart, b.getGlobal(walk.fault), va));
    b.result(half);
  });

  return {
    load,
    store,
    atomicHost,
    reach,
    fetch,
    fetchHalf,
    peekHalf,
    written,
    fill,
    enterRead,
    enterWrite,
    isWatched,
  };
}

/** Whether writes to page `index` must be told. */
function isWatched(hart: I32, index: I32): I32 {
  return pageMapEntry(hart, index).and(PAGE.WATCHED);
}

function whenStoreElse(forWrite: I32, whenStore: number, whenLoad: number): I32 {
  return select(forWrite, i64(whenStore), i64(whenLoad)).toI32();
}
