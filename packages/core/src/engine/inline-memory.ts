/** The inline TLB check, as every fast path makes it: whatever it does not answer is somebody else's. */

import { ENVCFG } from '../isa/csrs.ts';
import type { Body, Label } from '../wasm/body.ts';
import type { I32, I64 } from '../wasm/expression.ts';
import { load32, load64 } from '../wasm/memory-access.ts';
import type { FunctionRef } from '../wasm/module.ts';
import { TLB_ENTRIES, TLB_ENTRY_BYTES, TLB_WRITE } from './layout.ts';
import { PRIVILEGE, get32, getCsr } from './state.ts';
import { CACHE_BLOCK_BYTES } from './wasm-emitter.ts';

/** What an inline access needs of its surroundings. */
export interface InlineAccess {
  readonly body: Body;
  readonly hart: I32;
  /** Where the hart's state is, if that is known while the code is written. */
  readonly hartAt?: number | undefined;
  /** The context of data accesses, a leaf. */
  readonly context: I64;
  /** Where an access goes that the TLB does not answer. */
  readonly bail: Label;
  /** Asked before that: fillTlb, where it is worth the code. */
  readonly fill?: FunctionRef<'i32'> | undefined;
}

/** Bails unless the TLB at `table` maps all `bytes` at the leaf `address`; gives the host address. */
export function inlineHost(access: InlineAccess, table: number, bytes: number, address: I64): I32 {
  const { body, hart, context, bail, fill } = access;
  const offset = address
    .toI32()
    .shrU(12 - Math.log2(TLB_ENTRY_BYTES))
    .and((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES);
  // A known address of the hart goes into the constant that loads carry.
  const base = access.hartAt ?? 0;
  const entry = body.let(access.hartAt === undefined ? hart.add(offset) : offset);
  // The page of the last byte: an access that crosses a page never matches.
  const last = bytes === 1 ? address : address.add(bytes - 1);
  const isUnknown = last
    .and(-4096n)
    .or(context)
    .ne(load64(entry, base + table));
  if (!fill) {
    body.brIf(bail, isUnknown, false);
    return address.toI32().add(load32(entry, base + table + 8));
  }
  const host = body.local('i32');
  body.if(
    isUnknown,
    () => {
      body.set(host, body.call(fill, hart, address, table, bytes));
      body.brIf(bail, host.value.eqz(), false);
    },
    () => body.set(host, address.toI32().add(load32(entry, base + table + 8))),
    false,
  );
  return host.value;
}

/** cbo.zero in S-mode, where the kernel clears pages with it. */
export function inlineZeroBlock(access: InlineAccess, address: I64): void {
  const { body, hart, bail } = access;
  body.brIf(bail, get32(hart, 'privilege').ne(PRIVILEGE.S).or(getCsr(hart, 'menvcfg').and(ENVCFG.CBZE).eqz()), false);
  const block = body.let(address.and(-BigInt(CACHE_BLOCK_BYTES)));
  const host = body.let(inlineHost(access, TLB_WRITE, 1, block));
  for (let offset = 0; offset < CACHE_BLOCK_BYTES; offset += 8) body.store64(host, 0, offset);
}
