/** The inline TLB check, as every fast path makes it: whatever it does not answer is somebody else's. */

import { ENVCFG } from '../isa/csrs.ts';
import type { Body, Label } from '../wasm/body.ts';
import type { I32, I64 } from '../wasm/expression.ts';
import { load32, load64 } from '../wasm/memory-access.ts';
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
}

/** Where the TLB at `table` would have the page of the leaf `address`: an address, and a constant to add to it. */
export function tlbEntry(
  { body, hart, hartAt }: InlineAccess,
  table: number,
  address: I64,
): { entry: I32; at: number } {
  const offset = address
    .toI32()
    .shrU(12 - Math.log2(TLB_ENTRY_BYTES))
    .and((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES);
  // A known address of the hart goes into the constant that loads carry.
  return { entry: body.let(hartAt === undefined ? hart.add(offset) : offset), at: (hartAt ?? 0) + table };
}

/** The tag that the TLB must have for `bytes` at `address`: of the last byte's page, so an access that crosses a page never matches. */
export function tlbTag({ context }: InlineAccess, bytes: number, address: I64): I64 {
  const last = bytes === 1 ? address : address.add(bytes - 1);
  return last.and(-4096n).or(context);
}

/** Bails unless the TLB at `table` maps all `bytes` at the leaf `address`; gives the host address. */
export function inlineHost(access: InlineAccess, table: number, bytes: number, address: I64): I32 {
  const { entry, at } = tlbEntry(access, table, address);
  access.body.brIf(access.bail, tlbTag(access, bytes, address).ne(load64(entry, at)), false);
  return address.toI32().add(load32(entry, at + 8));
}

/** cbo.zero in S-mode, where the kernel clears pages with it. */
export function inlineZeroBlock(access: InlineAccess, address: I64): void {
  const { body, hart, bail } = access;
  body.brIf(bail, get32(hart, 'privilege').ne(PRIVILEGE.S).or(getCsr(hart, 'menvcfg').and(ENVCFG.CBZE).eqz()), false);
  const block = body.let(address.and(-BigInt(CACHE_BLOCK_BYTES)));
  const host = body.let(inlineHost(access, TLB_WRITE, 1, block));
  for (let offset = 0; offset < CACHE_BLOCK_BYTES; offset += 8) body.store64(host, 0, offset);
}
