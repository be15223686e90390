/**
 * Two address spaces for a hot program. Both have RAM where it is, the code's pages in an order of their own, and what changes: risks,
 * windows, and the code once more for stores.
 */

import { defined } from '../../../src/base/assert.ts';
import type { Random } from '../../../src/engine/float/testing/vectors.ts';
import { LEVELS, PAGE, PTE, PageTables, leaf } from '../page-tables.ts';
import {
  CODE,
  CONSTANTS,
  CONTEXT,
  LOG,
  LOG_END,
  RUNTIME,
  SCRATCH,
  SCRATCH_BYTES,
  TABLES,
  TEST_DEVICE,
} from '../places.ts';
import type { Segment } from '../program.ts';
import type { Level } from './function.ts';
import {
  ALIAS_VA,
  CELLS,
  CELL_BYTES,
  CODE_RISKS,
  CODE_WINDOW_VA,
  DATA_WINDOWS,
  DATA_WINDOW_VA,
  FOREIGN_DATA,
  FOREIGN_VA,
  RISKS,
  RISK_VA,
  STACK,
  STACK_END,
  WINDOW_DATA,
  WINDOW_STRIDE,
} from './layout.ts';

const MEGAPAGE = 0x20_0000;
const { V, R, W, X, U, A, D } = PTE;

/** For the runtime: see SHARED_CELLS. */
export interface Risk {
  readonly entries: readonly [number, number];
  readonly repaired: bigint;
  readonly broken: bigint;
}
export interface Window {
  readonly entry: number;
  readonly other: bigint;
}

export interface AddressSpaces {
  readonly segment: Segment;
  readonly satp: readonly [bigint, bigint];
  readonly risks: readonly Risk[];
  readonly windows: readonly Window[];
}

/** Physical pages of code, by their number in the code. */
export interface CodePages {
  readonly physical: readonly number[];
  /** The pages of a code window: which ones it shows in turn. */
  readonly windows: readonly (readonly [number, number])[];
}

export function addressSpaces(random: Random, level: Level, code: CodePages): AddressSpaces {
  const tables = new PageTables();
  const mode = random.pick([8, 8, 9, 10]);
  const levels = defined(LEVELS[mode], 'a mode');
  const roots = [tables.table(), tables.table()] as const;
  const asids = random.pick([
    [1, 2],
    [7, 0],
    [0xffff, 3],
  ]);
  const user = level === 'user' ? U : 0n;
  const map = (va: number | bigint, physical: number, flags: bigint, at = 0): [number, number] => {
    const put = (root: number): number => tables.map(root, levels, BigInt(va), at, leaf(physical, flags | V | A));
    return [put(roots[0]), put(roots[1])];
  };
  const mapRange = (from: number, to: number, flags: bigint): void => {
    for (let page = from; page < to; page += PAGE) map(page, page, flags);
  };
  mapRange(RUNTIME, CONTEXT, R | X);
  map(CONTEXT, CONTEXT, R | W | D);
  map(TEST_DEVICE, TEST_DEVICE, R | W | D);
  for (let at = LOG; at < LOG_END; at += MEGAPAGE) map(at, at, R | W | D, 1);
  map(TABLES, TABLES, R | W | D, 1);
  map(CONSTANTS, CONSTANTS, R | user);
  mapRange(SCRATCH, SCRATCH + SCRATCH_BYTES, R | W | D | user);
  mapRange(CELLS, CELLS + CELL_BYTES, R | W | D | user);
  mapRange(STACK, STACK_END, R | W | D | user);
  map(FOREIGN_VA, FOREIGN_DATA, R | W | D | (user ^ U));
  // Half of the code is dirty already.
  for (const [number, physical] of code.physical.entries()) {
    map(CODE + PAGE * number, physical, R | W | X | user | random.pick([0n, D]));
    map(ALIAS_VA + BigInt(PAGE * number), physical, R | W | user | random.pick([0n, D]));
  }
  const window = (va: bigint, pages: readonly [number, number], flags: bigint): Window => {
    const [entry, second] = map(va, pages[0], flags);
    const other = leaf(pages[1], flags | V | A);
    if (random.below(2) === 0) tables.put(second, other);
    return { entry, other };
  };
  const windows = [
    ...Array.from({ length: DATA_WINDOWS }, (_, n) => {
      const first = WINDOW_DATA + 2 * n * PAGE;
      return window(DATA_WINDOW_VA + BigInt(n) * WINDOW_STRIDE, [first, first + PAGE], R | W | D | user);
    }),
    ...code.windows.map((pages, n) => window(CODE_WINDOW_VA + BigInt(n) * WINDOW_STRIDE, pages, R | X | user)),
  ];
  const risks = Array.from({ length: RISKS }, (_, n): Risk => {
    const isCode = n < CODE_RISKS;
    // Data is the upper half of scratch memory.
    const physical = isCode
      ? defined(code.physical[n], 'a page of code')
      : SCRATCH + SCRATCH_BYTES - PAGE * (RISKS - n);
    const good = leaf(physical, V | A | R | user | (isCode ? X : W | D));
    const bad = random.pick(isCode ? [0n, good & ~X, good ^ U] : [0n, good & ~W, good & ~R & ~W, good ^ U]);
    const isHopeless = !isCode && random.below(6) === 0;
    const entries = map(RISK_VA + BigInt(n * PAGE), physical, 0n);
    for (const entry of entries) tables.put(entry, isHopeless || random.below(2) === 0 ? bad : good);
    return { entries, repaired: isHopeless ? 0n : good, broken: bad };
  });
  const satp = roots.map(
    (root, n) => (BigInt(mode) << 60n) | (BigInt(defined(asids[n], 'an ASID')) << 44n) | BigInt(root / PAGE),
  );
  return { segment: tables.segment, satp: satp as unknown as [bigint, bigint], risks, windows };
}
