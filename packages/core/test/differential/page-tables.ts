/** Page tables under construction, and random entries for them (Privileged ISA, 10.3 to 10.6, Svnapot, Svpbmt). */

import { assert } from '../../src/base/assert.ts';
import type { Random } from '../../src/engine/float/testing/vectors.ts';
import { SCRATCH, TABLES, TABLES_END } from './places.ts';
import type { Segment } from './program.ts';

export const PTE = {
  V: 1n,
  R: 2n,
  W: 4n,
  X: 8n,
  U: 16n,
  G: 32n,
  A: 64n,
  D: 128n,
  NC: 1n << 61n,
  N: 1n << 63n,
} as const;
export const PAGE = 0x1000;

/** Levels of Sv39, Sv48 and Sv57, by satp.MODE. */
export const LEVELS: Readonly<Record<number, number>> = { 8: 3, 9: 4, 10: 5 };

export class PageTables {
  readonly #bytes = new Uint8Array(TABLES_END - TABLES);
  readonly #view = new DataView(this.#bytes.buffer);
  #next = TABLES;

  /** An empty table; its physical address. */
  table(): number {
    assert(this.#next < TABLES_END, 'there is room for one more page table');
    const address = this.#next;
    this.#next += PAGE;
    return address;
  }

  /** Puts `pte` where the walk from `root` for `va` looks at `level`; tables on the way are made. Gives the entry's physical address. */
  map(root: number, levels: number, va: bigint, level: number, pte: bigint): number {
    let table = root;
    for (let at = levels - 1; at > level; at--) {
      const slot = table + 8 * index(va, at);
      const old = this.#get(slot);
      if ((old & PTE.V) === 0n) this.put(slot, pointer(this.table()));
      table = Number((this.#get(slot) >> 10n) << 12n);
    }
    const slot = table + 8 * index(va, level);
    this.put(slot, pte);
    return slot;
  }

  /** The tables a walk for `va` passes. */
  path(root: number, levels: number, va: bigint): number[] {
    const tables = [root];
    for (let at = levels - 1; at > 0; at--) {
      const entry = this.#get((tables.at(-1) ?? root) + 8 * index(va, at));
      if ((entry & PTE.V) === 0n || (entry & (PTE.R | PTE.W | PTE.X)) !== 0n) break;
      tables.push(Number((entry >> 10n) << 12n));
    }
    return tables;
  }

  /** Tables made so far, whole pages. */
  get end(): number {
    return this.#next;
  }

  get segment(): Segment {
    return { address: TABLES, bytes: this.#bytes };
  }

  #get(address: number): bigint {
    return this.#view.getBigUint64(address - TABLES, true);
  }

  /** Another entry at a physical address. */
  put(address: number, value: bigint): void {
    this.#view.setBigUint64(address - TABLES, BigInt.asUintN(64, value), true);
  }
}

const index = (va: bigint, level: number): number => Number((va >> BigInt(12 + 9 * level)) & 511n);

export const leaf = (physical: number, flags: bigint): bigint => (BigInt(physical / PAGE) << 10n) | flags;
export const pointer = (table: number): bigint => leaf(table, PTE.V);

/** Pages of scratch memory that random entries map; the rest is mapped as it should be. */
export const RISKED_PAGES = 12;
/** Nothing is there on either machine. */
const NOWHERE = 0x9000_0000;

/**
 * An entry for `level` that maps scratch memory, more or less. Not with reserved bits or the reserved memory type,
 * which QEMU 7.2 overlooks once Svpbmt is on. `empty` is a
 * table without entries.
 */
export function randomPte(random: Random, level: number, empty: number): bigint {
  let flags: bigint = PTE.V;
  const chance = (flag: bigint, percent: number): void => {
    if (random.below(100) < percent) flags |= flag;
  };
  if (random.below(20) === 0) flags = 0n;
  chance(PTE.R, 75);
  chance(PTE.W, 55);
  chance(PTE.X, 35);
  chance(PTE.U, 50);
  chance(PTE.G, 15);
  chance(PTE.A, 70);
  chance(PTE.D, 50);
  flags |= BigInt(random.below(4)) << 8n;
  if (random.below(12) === 0) flags |= BigInt(random.below(3)) << 61n;
  if ((flags & (PTE.R | PTE.W | PTE.X)) === 0n)
    return level === 0 ? leaf(scratchPage(random), flags) : leaf(empty, flags & (PTE.V | PTE.U | PTE.A | PTE.D));
  if (random.below(25) === 0) return leaf(level >= 3 ? 2 ** 46 : NOWHERE, flags);
  if (level === 0) {
    if (random.below(6) !== 0) return leaf(scratchPage(random), flags);
    // A NAPOT entry: 64 KiB, all of scratch memory; sometimes of a size that does not exist.
    // Then with A and D: QEMU 7.2 writes them before it looks.
    if (random.below(8) > 0) return leaf(SCRATCH, flags) | PTE.N | (8n << 10n);
    return leaf(SCRATCH, flags | PTE.A | PTE.D) | PTE.N | (BigInt(random.below(16)) << 10n);
  }
  // Superpages begin where RAM does, or at 0: scratch memory is at a known offset. Misaligned ones fault.
  const physical = level >= 3 ? 0 : 0x8000_0000;
  const misaligned = random.below(8) === 0 ? SCRATCH % 0x20_0000 : 0;
  if (random.below(30) === 0) return leaf(physical, flags | PTE.A | PTE.D) | PTE.N;
  return leaf(physical + misaligned, flags);
}

const scratchPage = (random: Random): number => SCRATCH + PAGE * random.below(RISKED_PAGES);

/** Offset of scratch memory in a superpage of `level` made by randomPte. */
export function scratchOffset(level: number): bigint {
  if (level === 0) return 0n;
  return level >= 3 ? BigInt(SCRATCH) : BigInt(SCRATCH - 0x8000_0000);
}
