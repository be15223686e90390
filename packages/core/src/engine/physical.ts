/**
 * Guest-physical space in generated code: which addresses are backed by frames, where the frame is, and what PMP allows (Privileged
 * ISA, 3.7). Only TLB fills and slow accesses come here, so clarity wins over speed.
 */

import type { ModuleBuilder, FunctionRef } from '../wasm/module.ts';
import { i64, select } from '../wasm/expression.ts';
import { load32, load64, load8U } from '../wasm/memory-access.ts';
import { PMP_ENTRIES, PMP_GRAIN_BITS } from '../isa/csrs.ts';
import type { importHost } from './imports.ts';
import { CONTROL, HART, PAGE, REGION, REGION_BYTES } from './layout.ts';
import { ACCESS, PRIVILEGE, get32 } from './state.ts';

export interface Physical {
  /** (physical) -> index of its page in the page map, or -1 when no frame backs it. */
  readonly pageIndex: FunctionRef<'i32'>;
  /** (physical) -> 1 when the region may be written. Only for addresses that have a page index. */
  readonly writable: FunctionRef<'i32'>;
  /** (index) -> page map entry good for reading. */
  readonly frameForRead: FunctionRef<'i32'>;
  /** (index) -> page map entry good for writing; pre-decoded code of the page is dropped by the caller after the write. */
  readonly frameForWrite: FunctionRef<'i32'>;
  /** (hart, physical, access, privilege) -> 1 when PMP allows the access. */
  readonly allowed: FunctionRef<'i32'>;
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
    module.function(name, ['i32'], ['i32'], (b, { value: index }) => {
      const entry = b.let(load32(load32(CONTROL.pageMap).add(index.shl(2))));
      b.if(entry.and(flag).ne(0), () => b.return(entry));
      b.result(b.call(imports.frame, index, forWrite));
    });
  const frameForRead = frameFor('frameForRead', PAGE.PRESENT, 0);
  const frameForWrite = frameFor('frameForWrite', PAGE.WRITABLE, 1);

  const allowed = module.function(
    'pmpAllowed',
    ['i32', 'i64', 'i32', 'i32'],
    ['i32'],
    (b, hartLocal, physical, access, privilege) => {
      const hart = hartLocal.value;
      // Without an active entry everything is allowed to M and denied to S and U, as 3.7.1 says for a hart that implements PMP.
      b.if(get32(hart, 'pmpActive').eqz(), () => b.return(privilege.value.eq(PRIVILEGE.M)));
      const word = b.let(physical.value.shrU(2));
      const index = b.local('i32');
      const previous = b.local('i64');
      b.loop((again) => {
        const config = b.let(load8U(hart.add(index.value), HART.pmpcfg));
        const stored = load64(hart.add(index.value.shl(3)), HART.pmpaddr);
        const mode = b.let(config.shrU(3).and(3));
        // Below the grain, NAPOT sees ones and TOR zeros.
        const address = b.local('i64');
        b.set(address, stored);
        b.set(
          address,
          select(
            mode.eq(3),
            address.value.or((1n << BigInt(PMP_GRAIN_BITS - 1)) - 1n),
            address.value.and(-1n << BigInt(PMP_GRAIN_BITS)),
          ),
        );
        const hit = b.local('i32');
        b.set(hit, 0);
        b.if(mode.eq(1), () => b.set(hit, word.geU(previous.value).and(word.ltU(address.value))));
        // NAPOT: the trailing ones of the address, and one bit more, are free. NA4 does not exist with this grain.
        b.if(mode.eq(3), () => {
          const free = b.let(address.value.xor(address.value.add(1)));
          b.set(
            hit,
            word
              .xor(address.value)
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
        b.set(previous, address.value);
        b.set(index, index.value.add(1));
        b.brIf(again, index.value.ltU(PMP_ENTRIES));
      });
      b.result(privilege.value.eq(PRIVILEGE.M));
    },
  );

  return { pageIndex, writable, frameForRead, frameForWrite, allowed };
}
