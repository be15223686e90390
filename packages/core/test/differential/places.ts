/**
 * Where everything lies in the memory of a test program, the same for QEMU's machine and ours. RAM is an image that each subject starts
 * with and that is read back when the program has ended: the log, the scratch memory and the page tables are the result.
 *
 *     0x8000_0000  runtime: start, trap handler          0x8010_0000  random code
 *     0x8000_8000  context of the handler                0x8020_0000  page tables
 *     0x8000_9000  constants worth computing with        0x8040_0000  scenes
 *     0x8001_0000  scratch memory                        0x8080_0000  log
 */

import { MiB } from '../../src/base/numbers.ts';

export const RAM_BASE = 0x8000_0000;
/** QEMU puts its device tree near the end of RAM; nothing of ours is there. */
export const RAM_BYTES = 64 * MiB;
export const RUNTIME = 0x8000_0000;
export const CONTEXT = 0x8000_8000;
export const CONSTANTS = 0x8000_9000;
export const CONSTANT_COUNT = 512;
export const SCRATCH = 0x8001_0000;
export const SCRATCH_BYTES = 0x1_0000;
export const CODE = 0x8010_0000;
export const CODE_END = 0x8020_0000;
export const TABLES = 0x8020_0000;
export const TABLES_END = 0x8040_0000;
export const SCENES = 0x8040_0000;
export const LOG = 0x8080_0000;
export const LOG_END = 0x8100_0000;
/** A record is at most this long; the handler stops the program when less room is left. */
export const LOG_MARGIN = 0x1000;
/** What is compared: everything up to the end of the log. */
export const COMPARED_BYTES = LOG_END - RAM_BASE;

/** What a program needs of the machine: the device that switches it off, hart 0's mtimecmp, and mtime. */
export const TEST_DEVICE = 0x10_0000;
export const POWER_OFF = 0x5555;
export const TIMER_COMPARE = 0x200_4000;
export const TIME = 0x200_bff8;

/** Offsets in the context. */
export const CONTEXT_CELLS = {
  /** x0 to x31 of the trapped program, which the handler may change. */
  x: 0,
  logPointer: 256,
  /** Virtual minus physical address of the code. */
  delta: 264,
  /** Rounds still to run, and where a round begins. */
  rounds: 272,
  entry: 280,
  /** 1: a program of scenes. */
  hasScenes: 288,
  scene: 296,
  scenesLeft: 304,
  /** Virtual addresses of the S-mode trap handler and of its sret. */
  supervisorHandler: 312,
  supervisorReturn: 320,
  dummy: 328,
  initialX: 336,
  initialF: 592,
} as const;

/** Offsets in a scene: what the runtime sets up before it enters a block. */
export const SCENE_CELLS = {
  status: 0,
  satp: 8,
  medeleg: 16,
  mideleg: 24,
  mie: 32,
  mip: 40,
  entry: 48,
  delta: 56,
  supervisorHandler: 64,
  supervisorReturn: 72,
  pmpcfg: 80,
  pmpaddr: 88,
  menvcfg: 152,
  counters: 160,
  /** 0 none, 1 all, 2 by address, 3 by address space, 4 by both. */
  fence: 168,
  fenceAddress: 176,
  fenceSpace: 184,
  /** Pairs of physical address and value, stored before the fence. */
  edits: 192,
} as const;
export const SCENE_EDITS = 4;
export const SCENE_PMP_ENTRIES = 8;
export const SCENE_BYTES = 256;

/** Kinds of record in the log: the low byte of the first doubleword; the next byte is the record's length in doublewords. */
export const RECORD_KINDS = { trap: 1, dump: 2, supervisorTrap: 3, scene: 4, ended: 5 } as const;
export const TRAP_RECORD = 5;
export const DUMP_RECORD = 67;

/** Illegal words (custom-0) by which a program talks to the handler. */
export const DUMP_WORD = 0x0000_200b;
export const ROUND_WORD = 0x0000_300b;
/** An ecall at this offset of a page ends a scene. */
export const EXIT_OFFSET = 0xffc;
