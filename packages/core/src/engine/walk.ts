/**
 * Address translation: the page-table walk of Sv39, Sv48 and Sv57 (Privileged ISA, 10.3 to 10.6), with Svnapot (chapter 11), Svpbmt
 * (chapter 12), and A/D bits updated by hardware when menvcfg.ADUE says so, else by page fault (Svadu, Svade).
 *
 *     va ──> canonical? ──> root (satp.PPN) ──> PTE at each level ──> leaf: rights, U/SUM/MXR, A/D ──> physical address ──> PMP
 *
 * The result is the physical address, or -1 with the exception code in the module's `fault` global.
 */

import type { ModuleBuilder, FunctionRef, GlobalRef } from '../wasm/module.ts';
import { i64, select } from '../wasm/expression.ts';
import { atomicCompareExchange64, atomicLoad64, load64 } from '../wasm/memory-access.ts';
import { ENVCFG, MSTATUS } from '../isa/csrs.ts';
import type { Physical } from './physical.ts';
import { HART, PAGE } from './layout.ts';
import { ACCESS, CAUSE, PRIVILEGE, get32, get64, getCsr, put32 } from './state.ts';
import { keepLeaf, keepTable } from './walk-cache.ts';

/** Bits of a page-table entry. */
const PTE = {
  V: 1n,
  R: 2n,
  W: 4n,
  X: 8n,
  U: 16n,
  G: 32n,
  A: 64n,
  D: 128n,
  RESERVED: 0x7fn << 54n,
  PBMT: 3n << 61n,
  N: 1n << 63n,
} as const;

export interface Walk {
  /** (hart, va, access) -> physical address or -1; afterwards `fault` holds the exception code. */
  readonly translate: FunctionRef<'i64'>;
  readonly fault: GlobalRef<'i32'>;
}

export function defineWalk(module: ModuleBuilder, physical: Physical): Walk {
  const fault = module.global('i32');

  const pageFault = module.function('pageFaultCode', ['i32'], ['i32'], (b, { value: access }) => {
    b.if(access.eq(ACCESS.FETCH), () => b.return(CAUSE.FETCH_PAGE));
    b.if(access.eq(ACCESS.LOAD), () => b.return(CAUSE.LOAD_PAGE));
    b.result(CAUSE.STORE_PAGE);
  });
  const accessFault = module.function('accessFaultCode', ['i32'], ['i32'], (b, { value: access }) => {
    b.if(access.eq(ACCESS.FETCH), () => b.return(CAUSE.FETCH_ACCESS));
    b.if(access.eq(ACCESS.LOAD), () => b.return(CAUSE.LOAD_ACCESS));
    b.result(CAUSE.STORE_ACCESS);
  });

  /** (hart, address, spanMask): a leaf bigger than a page was found, of which the TLBs and the walk cache may hold parts from now on. */
  const noteBig = module.function(
    'noteBig',
    ['i32', 'i64', 'i64'],
    [],
    (b, { value: hart }, { value: va }, { value: span }) => {
      const half = b.let(hart.add(va.shrU(63).toI32().shl(3)));
      const low = b.let(va.and(span.xor(-1n)));
      const high = b.let(va.or(span));
      b.store64(half, select(low.ltU(load64(half, HART.bigLow)), low, load64(half, HART.bigLow)), HART.bigLow);
      b.store64(half, select(high.gtU(load64(half, HART.bigHigh)), high, load64(half, HART.bigHigh)), HART.bigHigh);
    },
  );

  const walk = module.declare('pageWalk', ['i32', 'i64', 'i32', 'i32'], ['i64']);
  module.define(walk, (b, hartLocal, vaLocal, accessLocal, privilegeLocal) => {
    const [hart, va, access, privilege] = [hartLocal.value, vaLocal.value, accessLocal.value, privilegeLocal.value];
    const failPage = (): void => {
      b.setGlobal(fault, b.call(pageFault, access));
      b.return(-1n);
    };
    const failAccess = (): void => {
      b.setGlobal(fault, b.call(accessFault, access));
      b.return(-1n);
    };
    const satp = b.let(getCsr(hart, 'satp'));
    // MODE 8, 9, 10: three, four, five levels.
    const levels = b.let(satp.shrU(60).toI32().sub(5));
    const unused = b.let(i64(64 - 12).sub(levels.mul(9).toI64U()));
    b.if(va.shl(unused).shrS(unused).ne(va), failPage);
    const level = b.local('i32');
    const table = b.local('i64');
    const pte = b.local('i64');
    const slot = b.local('i64');
    b.set(level, levels.sub(1));
    b.set(table, satp.and((1n << 44n) - 1n).shl(12));
    const host = b.local('i32');
    b.loop((again) => {
      b.set(slot, table.value.add(va.shrU(level.value.mul(9).add(12).toI64U()).and(511).shl(3)));
      b.if(b.call(physical.allowed, hart, slot.value, ACCESS.LOAD, PRIVILEGE.S).eqz(), failAccess);
      const index = b.let(b.call(physical.pageIndex, slot.value));
      b.if(index.eq(-1), failAccess);
      const map = b.let(b.call(physical.frameForRead, hart, index));
      b.if(level.value.eqz(), () => keepTable(b, hart, va, map));
      b.set(host, map.and(~PAGE.MASK).add(slot.value.toI32().and(PAGE.MASK)));
      b.set(pte, atomicLoad64(host.value));
      const flags = b.let(pte.value.toI32());
      // V = 0, or W without R, or reserved bits set: 10.3.2 step 3.
      b.if(flags.and(1).eqz().or(flags.and(6).eq(4)).or(pte.value.and(PTE.RESERVED).ne(0)), failPage);
      const memoryType = b.let(pte.value.and(PTE.PBMT));
      b.if(memoryType.ne(0).and(getCsr(hart, 'menvcfg').and(ENVCFG.PBMTE).eqz().or(memoryType.eq(PTE.PBMT))), failPage);
      b.if(flags.and(Number(PTE.R | PTE.X)).eqz(), () => {
        // A pointer to the next level: D, A, U and the attribute bits must be clear.
        b.if(
          flags
            .and(Number(PTE.U | PTE.A | PTE.D))
            .ne(0)
            .or(pte.value.and(PTE.N | PTE.PBMT).ne(0))
            .or(level.value.eqz()),
          failPage,
        );
        b.set(
          table,
          pte.value
            .shrU(10)
            .and((1n << 44n) - 1n)
            .shl(12),
        );
        b.set(level, level.value.sub(1));
        b.br(again);
      });
    });
    const flags = b.let(pte.value.toI32());
    const status = b.let(get64(hart, 'mstatus'));
    // Rights for the access: X for fetch; R, or X under MXR, for load; W for store.
    const right = b.local('i32');
    b.set(right, flags.and(Number(PTE.X)));
    b.if(access.eq(ACCESS.LOAD), () =>
      b.set(right, flags.and(Number(PTE.R)).or(flags.and(Number(PTE.X)).and(status.shrU(19).toI32().shl(3)))),
    );
    b.if(access.eq(ACCESS.STORE), () => b.set(right, flags.and(Number(PTE.W))));
    b.if(right.value.eqz(), failPage);
    const user = b.let(flags.shrU(4).and(1));
    b.if(
      user,
      () => b.if(privilege.eq(PRIVILEGE.S).and(access.eq(ACCESS.FETCH).or(status.and(MSTATUS.SUM).eqz())), failPage),
      () => b.if(privilege.eq(PRIVILEGE.U), failPage),
    );
    // The leaf's span; a NAPOT leaf covers 64 KiB and its low four PPN bits are 1000.
    const span = b.local('i64');
    b.set(span, i64(1).shl(level.value.mul(9).add(12).toI64U()).sub(1));
    const ppn = b.local('i64');
    b.set(ppn, pte.value.shrU(10).and((1n << 44n) - 1n));
    b.if(pte.value.and(PTE.N).ne(0), () => {
      b.if(level.value.ne(0).or(ppn.value.and(15).ne(8)), failPage);
      b.set(ppn, ppn.value.and(-16n));
      b.set(span, 0xffffn);
    });
    // A misaligned superpage: 10.3.2 step 6.
    b.if(ppn.value.shl(12).and(span.value).ne(0), failPage);
    // A and D: step 9.
    const wanted = b.local('i64');
    b.set(wanted, PTE.A);
    b.if(access.eq(ACCESS.STORE), () => b.set(wanted, PTE.A | PTE.D));
    b.if(pte.value.and(wanted.value).ne(wanted.value), () => {
      b.if(getCsr(hart, 'menvcfg').and(ENVCFG.ADUE).eqz(), failPage);
      b.if(
        b
          .call(physical.allowed, hart, slot.value, ACCESS.STORE, PRIVILEGE.S)
          .eqz()
          .or(b.call(physical.writable, slot.value).eqz()),
        failAccess,
      );
      const frame = b.call(physical.frameForWrite, hart, b.call(physical.pageIndex, slot.value));
      b.set(host, frame.and(~PAGE.MASK).add(slot.value.toI32().and(PAGE.MASK)));
      // If the entry has changed meanwhile, the walk starts anew.
      b.if(atomicCompareExchange64(host.value, pte.value, pte.value.or(wanted.value)).ne(pte.value), () =>
        b.return(b.call(walk, hart, va, access, privilege)),
      );
    });
    put32(b, hart, 'walkUser', user);
    put32(b, hart, 'walkPrivate', flags.and(Number(PTE.U | PTE.G)).eqz());
    const found = b.let(ppn.value.shl(12).or(va.and(span.value)));
    b.if(span.value.ne(0xfff), () => {
      b.do(noteBig, hart, va, span.value);
      b.if(level.value.ne(0), () => keepLeaf(b, hart, va, pte.value.or(wanted.value), found));
    });
    b.result(found);
  });

  const translate = module.function(
    'translate',
    ['i32', 'i64', 'i32'],
    ['i64'],
    (b, hartLocal, vaLocal, accessLocal) => {
      const [hart, va, access] = [hartLocal.value, vaLocal.value, accessLocal.value];
      const privilege = b.local('i32');
      b.set(privilege, get32(hart, 'privilege'));
      const status = b.let(get64(hart, 'mstatus'));
      b.if(access.ne(ACCESS.FETCH).and(privilege.value.eq(PRIVILEGE.M)).and(status.and(MSTATUS.MPRV).ne(0)), () =>
        b.set(privilege, status.shrU(11).toI32().and(3)),
      );
      const result = b.local('i64');
      b.if(
        privilege.value.eq(PRIVILEGE.M).or(getCsr(hart, 'satp').shrU(60).eqz()),
        () => {
          b.set(result, va);
          put32(b, hart, 'walkUser', 0);
          put32(b, hart, 'walkPrivate', 0);
          // Physical addresses have 56 bits.
          b.if(va.shrU(56).ne(0), () => {
            b.setGlobal(fault, b.call(accessFault, access));
            b.return(-1n);
          });
        },
        () => {
          b.set(result, b.call(walk, hart, va, access, privilege.value));
          b.if(result.value.eq(-1n), () => b.return(-1n));
        },
      );
      b.if(b.call(physical.allowed, hart, result.value, access, privilege.value).eqz(), () => {
        b.setGlobal(fault, b.call(accessFault, access));
        b.return(-1n);
      });
      b.result(result.value);
    },
  );

  return { translate, fault };
}
