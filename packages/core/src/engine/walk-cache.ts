/**
 * The walk cache: what the last walks found of a space's upper levels, so that a TLB fill reads one entry of the last table instead of one on
 * each level. Entries are tagged with contextU, which stands for the address space whoever asks, and end with it; whatever clears the TLBs
 * clears them too (PMP may have changed what a walk may read), and so does who gives a page another frame: a table may be in it. (Privileged ISA, 10.2.1: translations and pointers may be cached until an sfence.vma.)
 */

import type { Body, Label } from '../wasm/body.ts';
import { type I32, type I64, i64 } from '../wasm/expression.ts';
import { atomicLoad64, load32, load64 } from '../wasm/memory-access.ts';
import { PAGE, WALK_CACHE, WALK_CACHE_ENTRIES, WALK_CACHE_ENTRY } from './layout.ts';
import { get32 } from './state.ts';

/** What one entry stands for. */
const REACH_BITS = 21;
const REACH = 1n << BigInt(REACH_BITS);

/** Of a page table entry: the flags and bits for software. */
const PTE_LOW_BITS = 0x3ffn;

/** The entry for `va`, as an address. */
export function walkCacheEntry(hart: I32, va: I64): I32 {
  return hart
    .add(
      va
        .shrU(REACH_BITS)
        .toI32()
        .and(WALK_CACHE_ENTRIES - 1)
        .shl(Math.log2(WALK_CACHE_ENTRY.BYTES)),
    )
    .add(WALK_CACHE);
}

function tagOf(hart: I32, va: I64): I64 {
  return va.and(-REACH).or(get32(hart, 'contextU').toI64U());
}

/** The page table entry that maps the leaf `va`, as if by a page of 4 KiB; goes to `absent` when it takes a walk to know. */
export function cachedLeaf(b: Body, hart: I32, va: I64, absent: Label): I64 {
  const entry = b.let(walkCacheEntry(hart, va));
  b.brIf(absent, load64(entry).ne(tagOf(hart, va)), false);
  const table = b.let(load32(entry, WALK_CACHE_ENTRY.TABLE));
  const leaf = b.local('i64');
  const page = (): I32 => va.toI32().shrU(12).and(511);
  b.if(
    table,
    () => b.set(leaf, atomicLoad64(table.add(page().shl(3)))),
    () => b.set(leaf, load64(entry, WALK_CACHE_ENTRY.LEAF).add(page().shl(10).toI64U())),
    true,
  );
  return leaf.value;
}

/** A walk for the leaf `va` has come to its last table, in the frame of the page map entry `map`. */
export function keepTable(b: Body, hart: I32, va: I64, map: I32): void {
  const entry = b.let(walkCacheEntry(hart, va));
  b.store64(entry, tagOf(hart, va));
  b.store32(entry, map.and(~PAGE.MASK), WALK_CACHE_ENTRY.TABLE);
}

/** A walk has found that the leaf `va` lies in a leaf of at least 2 MiB with the flags of `pte`; `physical` is its address there. */
export function keepLeaf(b: Body, hart: I32, va: I64, pte: I64, physical: I64): void {
  const entry = b.let(walkCacheEntry(hart, va));
  b.store64(entry, tagOf(hart, va));
  b.store32(entry, 0, WALK_CACHE_ENTRY.TABLE);
  const first = physical.and(i64(-REACH)).shrU(2);
  b.store64(entry, first.or(pte.and(PTE_LOW_BITS)), WALK_CACHE_ENTRY.LEAF);
}
