/**
 * Where everything lies for hot programs, beside what places.ts says of every program. In S- and U-mode addresses are translated: RAM is
 * where it is but for the pages of the code, which lie in another order, and above it are the places whose translation changes.
 *
 *     0x8000_0000  handlers                            0x1_4000_0000  risks: pages that fault, are repaired, and are taken away again
 *     0x8000_8000  contexts of both handlers, shared   0x1_6000_0000  windows of data, 0x1_7000_0000 of code: remapped while in use
 *     0x8002_0000  cells: addresses of code, and such  0x1_8000_0000  the code once more, to write to
 *     0x8003_0000  what the windows of data show       0x1_9000_0000  a page of the other privilege level
 *     0x8004_0000  stack
 */

import { CONTEXT } from '../places.ts';

/** The contexts of the M-mode and the S-mode handler: x0 to x31 and a doubleword for nothing. */
export const MACHINE_CONTEXT = CONTEXT;
export const SUPERVISOR_CONTEXT = CONTEXT + 0x400;
export const DUMMY = 256;

/** What the runtime is told, and what both handlers share. */
export const SHARED = CONTEXT + 0x800;
export const SHARED_CELLS = {
  logPointer: 0,
  /** State of the generator that says when the next timer interrupt comes. */
  chance: 8,
  medeleg: 16,
  mie: 24,
  satp: 32,
  /** XORed into satp to come to the other address space. */
  otherSpace: 40,
  status: 48,
  entry: 56,
  /** For each window: the physical address of its entry in the first space, and what is exchanged with it. */
  windows: 64,
  /** For each risk: the addresses of its entry in both spaces, the entry that lets everything pass (0: never), and the other. */
  risks: 128,
} as const;
/** Windows of data, and then of code. */
export const DATA_WINDOWS = 2;
export const CODE_WINDOWS = 2;
export const RISKS = 12;
/** A risk that is repaired takes away the one whose number differs in this bit: never a neighbour, which one access may need too. */
export const RISK_PARTNER = 2;

/** x1 to x31 and f0 to f31 as the program finds them lie behind the contexts. */
export const INITIAL_X = CONTEXT + 0xa00;
export const INITIAL_F = CONTEXT + 0xb00;

export const CELLS = 0x8002_0000;
/** Reached from the cell register, which points into their middle. */
export const CELL_BYTES = 4096;
export const CELL_POINTER = CELLS + CELL_BYTES / 2;
export const WINDOW_DATA = 0x8003_0000;
export const WINDOW_DATA_PAGES = 4;
/** A page that belongs to the other level. */
export const FOREIGN_DATA = 0x8003_8000;
export const STACK = 0x8004_0000;
export const STACK_END = 0x8008_0000;

export const RISK_VA = 0x1_4000_0000n;
/** The first risks are pages of code. */
export const CODE_RISKS = 4;
export const DATA_WINDOW_VA = 0x1_6000_0000n;
export const CODE_WINDOW_VA = 0x1_7000_0000n;
export const WINDOW_STRIDE = 0x20_0000n;
export const ALIAS_VA = 0x1_8000_0000n;
export const FOREIGN_VA = 0x1_9000_0000n;

/** Words of custom-0 by which a hot program asks its handler: beside DUMP_WORD, to exchange window `rd`, for the other space, and to end. */
export const REMAP_WORD = 0x0000_400b;
export const SWITCH_WORD = 0x0000_500b;
export const FINISH_WORD = 0x0000_600b;
