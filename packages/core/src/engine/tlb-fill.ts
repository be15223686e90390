/**
 * What compiled code calls when the TLB does not know an address in a loop: fills it, if that is all there is to do. A fault, a device, a page
 * whose writes are watched and an access across two pages are not done here: the caller leaves and the interpreter does the instruction.
 */

import type { FunctionRef, ModuleBuilder } from '../wasm/module.ts';
import { load32, load64 } from '../wasm/memory-access.ts';
import { tlbEntry } from './contexts.ts';
import { CONTROL, PAGE, TLB_ENTRIES, TLB_READ, TLB_WRITE } from './layout.ts';
import { keepUnlessWatched } from './fast-fill.ts';
import type { Mmu } from './mmu.ts';
import type { Physical } from './physical.ts';
import { ACCESS, count, get32 } from './state.ts';
import type { Walk } from './walk.ts';

/** The name of the function that fills for an access of `bytes` through the TLB at `table`. */
export const fillName = (table: number, bytes: number): string =>
  `fill${table === TLB_WRITE ? 'Write' : 'Read'}${bytes}`;

/** (hart, va, tag) -> the host address, or 0. The tag is what the TLB had, and not used: see op-emitter.ts. */
export const FILL_PARAMETERS = ['i32', 'i64', 'i64'] as const;

/** The functions that compiled code calls: an access says in one word of code what it wants. */
export function defineTlbFills(module: ModuleBuilder, fill: FunctionRef<'i32'>): FunctionRef<'i32'>[] {
  const made: FunctionRef<'i32'>[] = [];
  for (const table of [TLB_READ, TLB_WRITE]) {
    for (const bytes of [1, 2, 4, 8]) {
      const name = fillName(table, bytes);
      made.push(
        module.function(name, FILL_PARAMETERS, ['i32'], (b, hart, va) =>
          b.returnCall(fill, hart.value, va.value, table, bytes),
        ),
      );
    }
  }
  return made;
}

/** fillTlb(hart, va, table, bytes) -> the host address for an access of `bytes` at `va`, or 0. */
export function defineTlbFill(
  module: ModuleBuilder,
  physical: Physical,
  walk: Walk,
  mmu: Pick<Mmu, 'fill' | 'enterRead' | 'enterWrite' | 'isWatched'>,
  isThreaded: boolean,
): FunctionRef<'i32'> {
  return module.function(
    'fillTlb',
    ['i32', 'i64', 'i32', 'i32'],
    ['i32'],
    (b, { value: hart }, { value: va }, { value: table }, { value: bytes }) => {
      b.if(va.toI32().and(PAGE.MASK).add(bytes).gtU(4096), () => b.return(0));
      // An access of a group that lies in two pages comes here each time, and is known as often as not.
      const known = b.let(tlbEntry(hart.add(table), va, 0, TLB_ENTRIES));
      b.if(load64(known).eq(va.and(-4096n).or(get32(hart, 'dataContext').toI64U())), () =>
        b.return(load32(known, 8).add(va.toI32())),
      );
      const isStore = b.let(table.eq(TLB_WRITE));
      const quick = b.local('i32');
      b.if(
        isStore,
        () => b.set(quick, b.call(mmu.fill.write, hart, va)),
        () => b.set(quick, b.call(mmu.fill.read, hart, va)),
      );
      b.if(quick.value, () => {
        b.if(isStore.and(b.getGlobal(mmu.fill.watched).ne(-1)), () => b.return(0));
        b.return(quick.value);
      });
      const access = b.local('i32');
      b.set(access, ACCESS.LOAD);
      b.if(isStore, () => b.set(access, ACCESS.STORE));
      const epoch = b.let(load32(CONTROL.codeEpoch));
      const address = b.let(b.call(walk.translate, hart, va, access.value));
      b.if(address.eq(-1n), () => b.return(0));
      const index = b.let(b.call(physical.pageIndex, address));
      b.if(index.eq(-1), () => b.return(0));
      count(b, hart, 'tlbMisses');
      const entry = b.local('i32');
      b.if(
        isStore,
        () => {
          b.if(b.call(physical.writable, address).eqz(), () => b.return(0));
          b.set(entry, b.call(physical.frameForWrite, hart, index));
          // A frame that nobody shares any more may have code.
          b.if(entry.value.and(PAGE.WATCHED), () => b.return(0));
          mmu.enterWrite(b, hart, va, entry.value);
          if (isThreaded) keepUnlessWatched(b, hart, va, mmu.isWatched(hart, index), () => b.return(0));
        },
        () => {
          b.set(entry, b.call(physical.frameForRead, hart, index));
          mmu.enterRead(b, hart, va, entry.value);
        },
      );
      // A page got another frame, this one or one with page tables: what the caller keeps in locals may be void.
      b.if(load32(CONTROL.codeEpoch).ne(epoch), () => b.return(0));
      b.result(entry.value.and(~PAGE.MASK).add(va.toI32().and(PAGE.MASK)));
    },
  );
}
