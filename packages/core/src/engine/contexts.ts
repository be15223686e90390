/**
 * Contexts: small numbers that stand for "this address space, at this privilege" in the tags of a TLB. A context switch changes a number
 * and flushes nothing; `sfence.vma` of a whole address space gives it a new number and the old entries simply never match again. Only
 * when all numbers are used up are the TLBs cleared. (Privileged ISA, 10.1.11 satp and 10.2.1 sfence.vma say what may be kept.)
 *
 * Pages of S-mode that are global (the leaf's G bit: 10.3.1) are the same in every address space, and a kernel's all are. So S-mode has one
 * context in all address spaces, until it comes to a page in one of them that is not global: that space gets one of its own for S-mode.
 *
 * User pages that S-mode reaches while sstatus.SUM is set are entered under S-mode's context and put on a short list of borrowed
 * entries, which clearing SUM drops, and a change of satp: so copying from user space costs no flush and no second probe.
 */

import type { ModuleBuilder, FunctionRef } from '../wasm/module.ts';
import type { Body } from '../wasm/body.ts';
import { type I32, type I64, i32, i64 } from '../wasm/expression.ts';
import { load32, load64 } from '../wasm/memory-access.ts';
import { MSTATUS } from '../isa/csrs.ts';
import {
  ADDRESS_SPACES,
  CONTROL,
  DERIVED,
  FETCH_TLB_ENTRIES,
  FIRST_CONTEXT,
  HART,
  MACHINE_CONTEXT,
  MAX_CONTEXTS,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_FETCH,
  TLB_READ,
  TLB_WRITE,
} from './layout.ts';
import { PRIVILEGE, get32, get64, getCsr, put32 } from './state.ts';
import { walkCacheEntry } from './walk-cache.ts';

export interface Contexts {
  /** (hart): recomputes the contexts of data accesses and fetches from privilege and MPRV. */
  readonly select: FunctionRef;
  /** (hart): satp has changed. */
  readonly enterSpace: FunctionRef;
  /** (hart): a page of S-mode that is not global was found in the present space, whose context for S-mode is the shared one. */
  readonly leaveShared: FunctionRef;
  /** (hart): every translation of every address space is void. */
  readonly flushAll: FunctionRef;
  /** (hart): empties the TLBs and the walk cache, for changes that contexts do not cover (PMP, translations of M-mode). */
  readonly clear: FunctionRef;
  /** (hart): what the TLBs know belongs to another hart than the one whose state is here now, and neither was ever in M-mode. */
  readonly renew: FunctionRef;
  /** (hart, hasAddress, address, hasAsid, asid): sfence.vma. */
  readonly fence: FunctionRef;
  /** (hart): SUM was cleared. */
  readonly dropBorrowed: FunctionRef;
  /** (hart, entryAddress): the entry maps a user page for S-mode. */
  readonly borrow: FunctionRef;
  /** (hart, offset, address): removes every entry of the fetch TLB whose word at `offset` is `address`. */
  readonly forget: FunctionRef;
  /** (hart, table, entries, frame): removes every entry of a TLB that maps `frame`. */
  readonly purge: FunctionRef;
}

const SPACE_BYTES = 16;

/** The entry of `va` in the TLB at `table`, as an address. */
export function tlbEntry(hart: I32, va: I64, table: number, entries: number): I32 {
  return hart
    .add(
      va
        .shrU(12)
        .toI32()
        .and(entries - 1)
        .shl(Math.log2(TLB_ENTRY_BYTES)),
    )
    .add(table);
}

export function defineContexts(module: ModuleBuilder): Contexts {
  const clear = module.function('tlbClear', ['i32'], [], (b, { value: hart }) => {
    b.fill(hart.add(TLB_READ), 0, DERIVED.END - TLB_READ);
    b.fill(hart.add(HART.spaces), 0, SPACE_BYTES * ADDRESS_SPACES);
    put32(b, hart, 'borrowed', 0);
    resetBig(b, hart);
    put32(b, hart, 'contextU', FIRST_CONTEXT);
    put32(b, hart, 'contextS', FIRST_CONTEXT + 1);
    put32(b, hart, 'nextContext', FIRST_CONTEXT + 2);
  });

  /** Makes sure of `count` numbers for `fresh`. May clear. */
  const reserve = (b: Body, hart: I32, needed: number): void =>
    b.if(get32(hart, 'nextContext').gtU(MAX_CONTEXTS - needed), () => b.do(clear, hart));

  const fresh = (b: Body, hart: I32): I32 => {
    const number = b.let(get32(hart, 'nextContext'));
    put32(b, hart, 'nextContext', number.add(1));
    return number;
  };

  const selectContexts = module.function('contextSelect', ['i32'], [], (b, { value: hart }) => {
    const privilege = b.let(get32(hart, 'privilege'));
    const of = (level: I32): I32 => {
      const local = b.local('i32');
      b.set(local, i32(MACHINE_CONTEXT));
      b.if(level.eq(PRIVILEGE.U), () => b.set(local, get32(hart, 'contextU')));
      b.if(level.eq(PRIVILEGE.S), () => b.set(local, get32(hart, 'contextS')));
      return local.value;
    };
    const fetch = of(privilege);
    put32(b, hart, 'fetchContext', fetch);
    put32(b, hart, 'dataContext', fetch);
    const status = b.let(get64(hart, 'mstatus'));
    b.if(privilege.eq(PRIVILEGE.M).and(status.and(MSTATUS.MPRV).ne(0)), () => {
      put32(b, hart, 'dataContext', of(b.let(status.shrU(11).toI32().and(3))));
    });
  });

  /** The context of S-mode in a space that has shown no page of its own: shared, unless there is no translation. */
  const supervisorContext = (b: Body, hart: I32, satp: I64): I32 => {
    const context = b.local('i32');
    const mode = b.let(satp.shrU(60).toI32());
    b.if(
      mode.eqz(),
      () => b.set(context, fresh(b, hart)),
      () => {
        b.set(context, load32(hart, DERIVED.sharedContext));
        b.if(context.value.eqz().or(load32(hart, DERIVED.sharedMode).ne(mode)), () => {
          b.set(context, fresh(b, hart));
          b.store32(hart, context.value, DERIVED.sharedContext);
          b.store32(hart, mode, DERIVED.sharedMode);
        });
      },
    );
    return context.value;
  };

  /** Makes the contexts of the present space what its slot says from now on. */
  const keepSpace = (b: Body, hart: I32, satp: I64, user: I32, supervisor: I32): void => {
    put32(b, hart, 'contextU', user);
    put32(b, hart, 'contextS', supervisor);
    const slot = b.let(spaceSlot(hart, satp));
    // The tag is stored plus one, so that an empty slot (0) never matches satp = 0.
    b.store64(slot, satp.add(1), HART.spaces);
    b.store32(slot, user, HART.spaces + 8);
    b.store32(slot, supervisor, HART.spaces + 12);
    b.do(selectContexts, hart);
  };

  const renewCurrent = module.function('contextRenew', ['i32'], [], (b, { value: hart }) => {
    reserve(b, hart, 2);
    const satp = b.let(getCsr(hart, 'satp'));
    const user = fresh(b, hart);
    keepSpace(b, hart, satp, user, supervisorContext(b, hart, satp));
  });

  const leaveShared = module.function('contextLeaveShared', ['i32'], [], (b, { value: hart }) => {
    reserve(b, hart, 1);
    keepSpace(b, hart, b.let(getCsr(hart, 'satp')), b.let(get32(hart, 'contextU')), fresh(b, hart));
    // Compiled code that is running knows the old number.
    b.store32(CONTROL.codeEpoch, load32(CONTROL.codeEpoch).add(1));
  });

  const dropBorrowed = module.function('dropBorrowed', ['i32'], [], (b, { value: hart }) => {
    const index = b.local('i32');
    b.set(index, get32(hart, 'borrowed'));
    b.block((leave) => {
      b.loop((again) => {
        b.brIf(leave, index.value.eqz());
        b.set(index, index.value.sub(1));
        b.store64(load32(hart.add(index.value.shl(2)), HART.borrowedEntries), 0);
        b.br(again);
      });
    });
    put32(b, hart, 'borrowed', 0);
  });

  const enterSpace = module.function('contextEnterSpace', ['i32'], [], (b, { value: hart }) => {
    b.do(dropBorrowed, hart);
    const satp = b.let(getCsr(hart, 'satp'));
    const slot = b.let(spaceSlot(hart, satp));
    b.if(
      load64(slot, HART.spaces).eq(satp.add(1)),
      () => {
        put32(b, hart, 'contextU', load32(slot, HART.spaces + 8));
        put32(b, hart, 'contextS', load32(slot, HART.spaces + 12));
        b.do(selectContexts, hart);
      },
      () => b.do(renewCurrent, hart),
    );
  });

  const flushAll = module.function('contextFlushAll', ['i32'], [], (b, { value: hart }) => {
    b.fill(hart.add(HART.spaces), 0, SPACE_BYTES * ADDRESS_SPACES);
    resetBig(b, hart);
    b.store32(hart, 0, DERIVED.sharedContext);
    b.do(renewCurrent, hart);
  });

  const renew = module.function('tlbRenew', ['i32'], [], (b, { value: hart }) => {
    // Entries of the other hart have contexts that this one never gets: numbers go on where that one stopped.
    put32(b, hart, 'borrowed', 0);
    b.store32(hart, 0, DERIVED.closedKnown);
    b.do(flushAll, hart);
  });

  const flushAsid = module.function('contextFlushAsid', ['i32', 'i32'], [], (b, { value: hart }, { value: asid }) => {
    const index = b.local('i32');
    b.loop((again) => {
      const slot = b.let(hart.add(index.value.shl(4)));
      b.if(load64(slot, HART.spaces).sub(1).shrU(44).toI32().and(0xffff).eq(asid), () =>
        b.store64(slot, 0, HART.spaces),
      );
      b.set(index, index.value.add(1));
      b.brIf(again, index.value.ltU(ADDRESS_SPACES));
    });
    b.if(getCsr(hart, 'satp').shrU(44).toI32().and(0xffff).eq(asid), () => b.do(renewCurrent, hart));
  });

  const fence = module.function(
    'fenceVma',
    ['i32', 'i32', 'i64', 'i32', 'i32'],
    [],
    (b, hart, hasAddress, address, hasAsid, asid) => {
      const va = address.value;
      const half = b.let(hart.value.add(va.shrU(63).toI32().shl(3)));
      const isBig = b.let(va.geU(load64(half, HART.bigLow)).and(va.leU(load64(half, HART.bigHigh))));
      b.if(
        hasAddress.value.and(isBig.eqz()),
        () => {
          const page = b.let(va.and(-4096n));
          for (const [table, entries] of [
            [TLB_READ, TLB_ENTRIES],
            [TLB_WRITE, TLB_ENTRIES],
            [TLB_FETCH, FETCH_TLB_ENTRIES],
          ] as const) {
            const entry = b.let(tlbEntry(hart.value, va, table, entries));
            b.if(load64(entry).and(-4096n).eq(page), () => b.store64(entry, 0));
          }
          // Pointers to tables need not be dropped (10.2.1: only leaves are ordered), but who relies on more loses nothing by it.
          b.store64(walkCacheEntry(hart.value, va), 0);
        },
        () =>
          b.if(
            hasAsid.value,
            () => b.do(flushAsid, hart.value, asid.value),
            () => b.do(flushAll, hart.value),
          ),
      );
    },
  );

  const borrow = module.function('borrow', ['i32', 'i32'], [], (b, { value: hart }, { value: entry }) => {
    b.if(get32(hart, 'borrowed').geU(32), () => b.do(dropBorrowed, hart));
    const index = b.let(get32(hart, 'borrowed'));
    b.store32(hart.add(index.shl(2)), entry, HART.borrowedEntries);
    put32(b, hart, 'borrowed', index.add(1));
  });

  const forget = module.function(
    'tlbForget',
    ['i32', 'i32', 'i32'],
    [],
    (b, { value: hart }, { value: offset }, { value: address }) => {
      const entry = b.local('i32');
      const end = b.let(hart.add(TLB_FETCH + FETCH_TLB_ENTRIES * TLB_ENTRY_BYTES));
      b.set(entry, hart.add(TLB_FETCH));
      b.loop((again) => {
        b.if(load32(entry.value.add(offset)).eq(address), () => b.store64(entry.value, 0));
        b.set(entry, entry.value.add(TLB_ENTRY_BYTES));
        b.brIf(again, entry.value.ltU(end));
      });
    },
  );

  const purge = module.function(
    'tlbPurge',
    ['i32', 'i32', 'i32', 'i32'],
    [],
    (b, { value: hart }, { value: table }, { value: entries }, { value: frame }) => {
      const entry = b.local('i32');
      const end = b.let(hart.add(table).add(entries.mul(TLB_ENTRY_BYTES)));
      b.set(entry, hart.add(table));
      b.loop((again) => {
        // host = low 32 bits of the page's address + addend
        b.if(load32(entry.value).and(-4096).add(load32(entry.value, 8)).eq(frame), () => b.store64(entry.value, 0));
        b.set(entry, entry.value.add(TLB_ENTRY_BYTES));
        b.brIf(again, entry.value.ltU(end));
      });
    },
  );

  return {
    select: selectContexts,
    enterSpace,
    leaveShared,
    flushAll,
    clear,
    renew,
    fence,
    dropBorrowed,
    borrow,
    forget,
    purge,
  };
}

function spaceSlot(hart: I32, satp: I64): I32 {
  return hart.add(
    satp
      .shrU(44)
      .xor(satp)
      .toI32()
      .and(ADDRESS_SPACES - 1)
      .shl(4),
  );
}

/** No big leaf in either half: low above high. */
function resetBig(b: Body, hart: I32): void {
  for (const half of [0, 8]) {
    b.store64(hart, i64(-1n), HART.bigLow + half);
    b.store64(hart, 0, HART.bigHigh + half);
  }
}
