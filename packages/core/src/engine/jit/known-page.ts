/**
 * The page that accesses with one base register went to last, in locals: a walk over memory, or the fields of a structure, asks the TLB once a
 * page. Whatever could end a translation while a region's function runs makes it forget (`forget`) or leave.
 */

import type { Body, Local } from '../../wasm/body.ts';
import type { I32, I64 } from '../../wasm/expression.ts';
import { type InlineAccess, inlineHost } from '../inline-memory.ts';

export interface KnownPage {
  /** Its virtual address; NOWHERE while no page is known. */
  readonly page: Local<'i64'>;
  /** Its host address. */
  readonly frame: Local<'i32'>;
}

/** The widest access ends within the page when it begins below this. */
const PAGE_LIMIT = 4096 - 7;

/**
 * What stands for "no page is known": an address that no guest can reach, because it is not canonical in any translation mode and has more
 * bits than a physical one. It is drawn by lot, so that a guest cannot aim there either: where it would have faulted it would reach the
 * domain's first page, which holds nothing.
 */
export function nowherePage(chance: bigint): bigint {
  return (1n << 62n) | ((chance & ((1n << 44n) - 1n)) << 12n);
}

export function makeKnownPage(body: Body): KnownPage {
  return { page: body.lasting('i64'), frame: body.lasting('i32') };
}

export function forget(body: Body, known: KnownPage, nowhere: bigint): void {
  body.set(known.page, nowhere);
}

/** The host address of the leaf `va`: in the page that is known, else the TLB's answer, which is known from now on; else bails. */
export function hostInPage(access: InlineAccess, known: KnownPage, table: number, bytes: number, va: I64): I32 {
  const { body } = access;
  const offset = body.local('i64');
  body.set(offset, va.sub(known.page.value));
  body.if(
    offset.value.geU(Math.min(PAGE_LIMIT, 4096 - bytes + 1)),
    () => {
      const host = body.let(inlineHost(access, table, bytes, va));
      body.set(known.page, va.and(-4096n));
      body.set(offset, va.and(4095n));
      body.set(known.frame, host.sub(offset.value.toI32()));
    },
    undefined,
    false,
  );
  return known.frame.value.add(offset.value.toI32());
}
