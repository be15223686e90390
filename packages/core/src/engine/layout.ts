/**
 * Where everything lies in a memory domain: one 32-bit shared WebAssembly.Memory (ARCHITECTURE.md, decision 4).
 *
 *     0x0000_0000  nothing (a null address is never valid), then the domain's control words and those of the pCPUs
 *     0x0001_0000  harts, 256 KiB each: state, then the three TLBs and what else is derived
 *     pageMap      of the first guest, u32 for each page: host address of its frame, and flags
 *     frameTable   two u32 for each frame: references, and the page map entry of whoever may write to it (see frames.ts)
 *     lineMap      u64 for each frame: which of its 64 lines hold code that was decoded or compiled, or may hold it
 *     watchers     u8 for each frame: which pCPUs hold code of it
 *     frames       4 KiB each, from the first one up; from the end down the page maps and harts of further guests (see guest.ts)
 *
 * and for each pCPU what it makes of code, before the frames:
 *
 *     codeBase     pre-decoded code pages: one record for each halfword of a frame
 *     heatBase     heat pages: one u16 for each halfword of a frame (the first one stays empty)
 *     codeMap      u32 for each frame: address of its pre-decoded page, or 0
 *     heatMap      u32 for each frame: address of its heat page, or 0
 *
 * Tables of frames are indexed by the frame's number, its host address / 4096. Offsets are constants in the generated code; where a table
 * begins depends on sizes and lies in a control word, or with the hart.
 */

import { assert } from '../base/assert.ts';

type CellType = 'i32' | 'i64';
const cellBytes: Record<CellType, number> = { i32: 4, i64: 8 };

/** Offsets of named cells, laid out in order with natural alignment. `[type, count]` is an array. */
function layOut<const T extends Record<string, CellType | readonly [CellType, number]>>(
  start: number,
  cells: T,
): { readonly [K in keyof T]: number } & { readonly END: number } {
  let offset = start;
  const offsets: Record<string, number> = {};
  for (const [name, cell] of Object.entries(cells)) {
    const [type, count] = typeof cell === 'string' ? ([cell, 1] as const) : cell;
    const size = cellBytes[type];
    offset = Math.ceil(offset / size) * size;
    offsets[name] = offset;
    offset += size * count;
  }
  return { ...offsets, END: offset } as { readonly [K in keyof T]: number } & { readonly END: number };
}

/** Bytes of a page and of its frame. */
const PAGE_BYTES = 4096;

/** Regions of guest-physical space that are backed by frames: RAM first, then ROMs. */
export const MAX_REGIONS = 8;
export const REGION_BYTES = 24;
/** One region: first page number, page count (both i64), index of its first page in the page map (i32), 1 if writable (i32). */
export const REGION = { FIRST: 0, COUNT: 8, INDEX: 16, WRITABLE: 20 } as const;

export const MAX_HARTS = 8;

/** Control words of the domain. */
export const CONTROL = layOut(0x1000, {
  lineMap: 'i32',
  /** Held by who changes a page map or the frames: 0 free, 1 held, 2 held and waited for. */
  lock: 'i32',
  /** Host address of the first frame that was never handed out, and where the frames end: what lies behind is in use otherwise. */
  nextFrame: 'i32',
  framesEnd: 'i32',
  /** Number of the first frame that was given back, 0 when there is none, and how many there are. */
  freeFrame: 'i32',
  freeFrames: 'i32',
  /** Not 0: pCPUs stop between two slices. */
  stop: 'i32',
  /** Changes when a pCPU asks the machine's thread for something. */
  doorbell: 'i32',
  /** What to add to the ticks of the machine's clock to get mtime. */
  tickOffset: 'i64',
  /** Changes whenever compiled code becomes void. */
  codeEpoch: 'i32',
  regionCount: 'i32',
  regions: ['i64', (MAX_REGIONS * REGION_BYTES) / 8],
  /** Of each hart: which pCPU has it, and whether others may take it (hart-places.ts); then what they tell each other of turns (machine/turns.ts). */
  places: ['i32', MAX_HARTS],
  wasReady: ['i32', MAX_HARTS],
  isPreempted: ['i32', MAX_HARTS],
  /** Floats, in nanoseconds: time that each hart had, since when it waits for its turn, and what a hart has that comes now. */
  usedNs: ['i64', MAX_HARTS],
  sinceNs: ['i64', MAX_HARTS],
  latestNs: 'i64',
  /** What the machine may use of the host's processors (machine/allowance.ts). */
  allowance: ['i64', 16],
});

/** Threads that execute harts. */
export const MAX_PCPUS = 8;
const PCPU_BASE = 0x2000;
const PCPU_STRIDE = 0x1000;
/** Writes to code that a pCPU is told of one by one; with more it drops all that it made of code. */
export const WRITTEN_ENTRIES = 256;
/** Words of a pCPU. Offsets are from its base. */
export const PCPU = layOut(0, {
  /** Odd while it executes guest code; see pcpu-words.ts. */
  passes: 'i32',
  /** Base of the hart that it executes, or 0. */
  hart: 'i32',
  /** Changes when there may be something to do; it waits here when there is nothing. */
  wakeups: 'i32',
  /** 1 while it waits there, or is about to. */
  asleep: 'i32',
  /** 1 while it stands still because of `stop`. */
  parked: 'i32',
  /** What it asks the machine's thread; see machine/mailbox.ts. */
  mail: 'i32',
  mailKind: 'i32',
  mailHart: 'i32',
  mailBytes: 'i32',
  mailLow: 'i32',
  mailHigh: 'i32',
  mailValueLow: 'i32',
  mailValueHigh: 'i32',
  /** Harts that it took over from others. */
  taken: 'i32',
  /** Counters of its compiler, for reports. */
  compiled: ['i32', 8],
  /** Code of its that others have written: index of the guest page (i32), offset | bytes << 16 (i32). */
  writtenLock: 'i32',
  writtenCount: 'i32',
  written: ['i64', WRITTEN_ENTRIES],
});
assert(PCPU.END <= PCPU_STRIDE, 'the words of a pCPU fit');

export const HART_BASE = 0x1_0000;
export const HART_STRIDE = 0x10_0000;

/** A hart's state. Offsets are from the hart's base. Registers come first: their offset is 8 times their number. */
export const HART = layOut(0, {
  x: ['i64', 32],
  f: ['i64', 32],
  /** Writes to x0 go here. INVARIANT: x[0] is never written. */
  sink: 'i64',
  pc: 'i64',
  /** A value handed between wasm and JS: what an MMIO load gave, what a store writes. */
  value: 'i64',
  /** Ticks of mtime, as `readTime` left it. */
  time: 'i64',
  /** Instructions retired before the present `run`. */
  retired: 'i64',
  /** Instructions begun in the present `run`. */
  count: 'i32',
  /** `run` returns at the next boundary once count reaches this; other threads set it to 0 to get attention. */
  limit: 'i32',
  /** 1 when the hart had nothing to do but wait for another, and ended its run for that. */
  yielded: 'i32',
  /** 0 U, 1 S, 3 M. */
  privilege: 'i32',
  /** 1 when ecall from S-mode goes to our own SBI instead of M-mode. */
  ownSbi: 'i32',
  id: 'i32',
  /** Interrupt lines as hardware drives them (bits of mip). */
  lines: 'i32',
  /** Interrupt bits as software wrote them (SSIP, STIP, SEIP). */
  softPending: 'i32',
  fflags: 'i32',
  frm: 'i32',
  /** Context numbers of U-mode and S-mode under the present satp, and of M-mode data when mstatus.MPRV says so. */
  contextU: 'i32',
  contextS: 'i32',
  /** The context of data accesses and of fetches now. */
  dataContext: 'i32',
  fetchContext: 'i32',
  nextContext: 'i32',
  /** Entries of the TLB that S-mode borrowed from user pages while SUM was set. */
  borrowed: 'i32',
  borrowedEntries: ['i32', 32],
  /** Leaves bigger than a page that the TLB may hold parts of: bounds of their addresses, lower and upper half of the space apart. */
  bigLow: ['i64', 2],
  bigHigh: ['i64', 2],
  /** 1 when a compiled function would not begin, float state being other than it takes for granted: the interpreter goes on here. */
  refused: 'i32',
  /** Host address of the reserved cell, 0 when none, and the value it had. */
  reservation: 'i32',
  reservedValue: 'i64',
  /** How the last walk ended: whether the leaf is a user page; whether it is neither that nor global. */
  walkUser: 'i32',
  walkPrivate: 'i32',
  /** Whether any PMP entry is active. */
  pmpActive: 'i32',
  pmpcfg: ['i64', 2],
  pmpaddr: ['i64', 16],
  mstatus: 'i64',
  mcycleOffset: 'i64',
  /** Where the guest wants its stolen time, plus one; 0: nowhere. And that time, in ns. */
  stealAddress: 'i64',
  stolen: 'i64',
  minstretOffset: 'i64',
  /** The stored CSRs, by dense index. */
  csr: ['i64', 256],
  /** A record of one instruction that crosses a page, decoded for one execution. */
  scratchRecord: ['i64', 2],
  /** Counters for reports. */
  tlbMisses: 'i64',
  fetchMisses: 'i64',
  slowSteps: 'i64',
  traps: 'i64',
  interrupts: 'i64',
  mmioAccesses: 'i64',
  /** Instructions that compiled code has begun. */
  compiled: 'i64',
  /** Address spaces seen lately: satp (i64), contextU, contextS (i32 each). */
  spaces: ['i64', 2 * 64],
});
export const ADDRESS_SPACES = 64;
const LINK_START = 0x1100;
assert(HART.END <= LINK_START, 'the hart state ends before the words that are not state');

/** Fences that a hart is asked for one by one; with more it fences everything. */
export const FENCE_ENTRIES = 16;
/** What belongs to a hart and is not its state: where the thread that executes it has its code, and what others ask of it. */
export const LINK = layOut(LINK_START, {
  /** Of the hart's guest. */
  pageMap: 'i32',
  codeMap: 'i32',
  heatMap: 'i32',
  /** What the hart is doing: a position in machine/hart.ts' list. */
  runState: 'i32',
  /** Fences that other harts ask for: numbers of the last one asked for and the last one done, then those in between. */
  fenceLock: 'i32',
  fencesAsked: 'i32',
  fencesDone: 'i32',
  fenceCount: 'i32',
  /** Start, size, and ASID (-1: all) of each. */
  fences: ['i64', 3 * FENCE_ENTRIES],
});
assert(LINK.END <= 0x1800, 'what is not state ends before the TLBs begin');

/** TLBs: direct-mapped, 16 bytes an entry: tag (i64: page address | context), addend (i32: host = low 32 bits of the address + addend). */
export const TLB_ENTRY_BYTES = 16;
export const TLB_ENTRIES = 16384;
export const FETCH_TLB_ENTRIES = 4096;
export const TLB_READ = 0x1800;
export const TLB_WRITE = TLB_READ + TLB_ENTRIES * TLB_ENTRY_BYTES;
/** Fetch entries: tag, then the address of the pre-decoded page, then that of the heat page. */
export const TLB_FETCH = TLB_WRITE + TLB_ENTRIES * TLB_ENTRY_BYTES;

/**
 * The walk cache (see walk-cache.ts): direct-mapped by the 2 MiB that an address lies in. 32 bytes an entry: tag (i64: the 2 MiB's address |
 * contextU), host address of the last table (i32, 0 where a leaf spans the whole 2 MiB), that leaf (i64: as an entry for its first page).
 */
export const WALK_CACHE = TLB_FETCH + FETCH_TLB_ENTRIES * TLB_ENTRY_BYTES;
export const WALK_CACHE_ENTRIES = 256;
export const WALK_CACHE_ENTRY = { BYTES: 32, TABLE: 8, LEAF: 16 } as const;

/** Places for frames that may not be written to, by number: the zero frame has one to itself. */
export const SHARED_PLACES = 16384;
/** More than one entry, or those of several frames: they have to be looked for. */
export const MANY_ENTRIES = 0xffff;

/** What is derived from the hart's state beside TLBs, and void with them. */
export const DERIVED = layOut(WALK_CACHE + WALK_CACHE_ENTRIES * WALK_CACHE_ENTRY.BYTES, {
  /** Whether the next two are known. */
  closedKnown: 'i32',
  /** Pages from this one on may be closed to S and U in some way by PMP; all others are open. */
  closedFirst: 'i64',
  closedCount: 'i64',
  /** The context that S-mode has in every address space of one satp.MODE, for global pages alone; 0: none yet. And that MODE. */
  sharedContext: 'i32',
  sharedMode: 'i32',
  /**
   * By the low bits of a frame's number: which entry of the read TLB may hold such a frame that may not be written to, and is replaced by the first write
   * (the zero frame, shared ones). A u16 each: position in the TLB plus one; MANY_ENTRIES; 0 for none.
   */
  sharedEntries: ['i32', SHARED_PLACES / 2],
});
assert(DERIVED.END <= HART_STRIDE, 'a hart fits its stride');

/** Context numbers share a tag's low 12 bits. 0 is never used (so an empty entry never matches), 1 is M-mode without translation. */
export const MACHINE_CONTEXT = 1;
export const FIRST_CONTEXT = 2;
export const MAX_CONTEXTS = 4096;

/**
 * A pre-decoded instruction: 16 bytes for each halfword of code.
 *
 *      0 u16  handler of the interpreter      8 i32  immediate (for a near branch: distance in records * 16)
 *      2 u16  rd     } offset of the          12 u8   rs3's number * 8
 *      4 u16  rs1    } register in the        13 u8   rounding mode
 *      6 u16  rs2    } hart's state           14 u16  entry number | length << 12
 */
export const RECORD = { BYTES: 16, HANDLER: 0, RD: 2, RS1: 4, RS2: 6, IMM: 8, RS3: 12, RM: 13, ENTRY: 14 } as const;
/** Records of a page, and two behind it: where execution runs off the page's end it finds the `nextPage` handler. */
export const RECORDS_PER_PAGE = 2048;
/** Where, behind the records of a page, the number of its frame is. */
export const CODE_PAGE_FRAME = (RECORDS_PER_PAGE + 1) * RECORD.BYTES;
export const CODE_PAGE_BYTES = (RECORDS_PER_PAGE + 2) * RECORD.BYTES;

/**
 * A heat page has a u16 for each halfword of code that control may jump to: how often it was come to, and from HOT.FIRST_FUNCTION on
 * the number of the compiled function that begins there. The numbers below are taken in the table of functions too, by one that leaves
 * to the interpreter, so whoever jumps needs no comparison.
 */
export const HEAT_PAGE_BYTES = 4096;
export const HOT = { PENDING: 0x3fe, COLD: 0x3ff, FIRST_FUNCTION: 0x400, LAST_FUNCTION: 0xffff } as const;

/**
/**
 * Flags in the low bits of a page map entry; the rest is the frame's host address. 0: no frame yet. A frame that is PRESENT and not WRITABLE is
 * the zero frame or shared with others: whoever writes gets one of its own. MOVING: somebody is about to give the page such a one. ELSEWHERE: no
 * frame yet, and its bytes come from the page source; KEPT: what it holds is to be kept before it is written (page-states.ts has both). DORMANT: the
 * frame is there, and whoever touches the page is noticed; AWAY: instead of a frame's number there is that of what was put away (page-reclaim.ts).
 */
export const PAGE = {
  PRESENT: 1,
  WRITABLE: 2,
  WATCHED: 4,
  MOVING: 8,
  DORMANT: 0x10,
  AWAY: 0x20,
  ELSEWHERE: 0x100,
  KEPT: 0x200,
  /** What stands in the way of a page's being read or written and is no matter of frames alone. */
  STATES: 0x330,
  MASK: 0xfff,
} as const;

/** Bytes of a line: one bit of a page's word in the line map. */
export const LINE_BITS = 6;

export function pcpuBase(number: number): number {
  assert(number >= 0 && number < MAX_PCPUS, `pCPU ${number} does not fit the domain`);
  return PCPU_BASE + number * PCPU_STRIDE;
}

export function hartBase(id: number): number {
  assert(id >= 0 && id < MAX_HARTS, `hart ${id} does not fit the domain`);
  return HART_BASE + id * HART_STRIDE;
}

/** Where the tables that depend on sizes begin; code and heat are those of one pCPU. */
export interface DomainLayout {
  readonly codeBase: number;
  readonly codePages: number;
  readonly heatBase: number;
  readonly heatPages: number;
  readonly pageMap: number;
  readonly frameTable: number;
  readonly codeMap: number;
  readonly heatMap: number;
  readonly lineMap: number;
  readonly watchers: number;
  readonly frames: number;
  readonly frameCount: number;
  readonly totalBytes: number;
}

/** The largest domain: what a 32-bit memory can be. */
export const MAX_DOMAIN_BYTES = 0xffff_0000;

/** Bytes of frameTable, lineMap and watchers for a frame; of codeMap and heatMap for each pCPU. */
const FRAME_TABLE_BYTES = 8;
const LINE_MAP_BYTES = 8;
const FRAME_BYTES = FRAME_TABLE_BYTES + LINE_MAP_BYTES + 1;
const FRAME_BYTES_OF_PCPU = 8;
/** What rounding may add to the tables, in frames. */
const ROUNDING_FRAMES = 256;

/** What a domain is to hold. */
export interface DomainSize {
  /** Pages of the first guest, RAM and ROM: so many frames there are at least, and the zero frame. */
  readonly guestPages: number;
  readonly codePages: number;
  readonly heatPages: number;
  /** All of it, for further guests; as much as the first guest needs when that is more. */
  readonly totalBytes?: number | undefined;
}

/** Lays out a domain as number `pcpu` of `pcpus` threads sees it. */
export function domainLayout(
  { guestPages, codePages, heatPages, totalBytes: wantedBytes = 0 }: DomainSize,
  pcpus = 1,
  pcpu = 0,
): DomainLayout {
  const page = (bytes: number): number => Math.ceil(bytes / 0x1_0000) * 0x1_0000;
  const pageMap = HART_BASE + MAX_HARTS * HART_STRIDE;
  const frameTable = page(pageMap + 4 * guestPages);
  const codeBytes = page(codePages * CODE_PAGE_BYTES) + page(heatPages * HEAT_PAGE_BYTES);
  // Every page of the memory has a number, be it a frame or not.
  const share = PAGE_BYTES - FRAME_BYTES - pcpus * FRAME_BYTES_OF_PCPU;
  // Frames that would have the zero frame's place stay unused.
  const framesBytes = (guestPages + 2 + Math.ceil(guestPages / (SHARED_PLACES - 1))) * PAGE_BYTES;
  const leastBytes = page(frameTable + pcpus * codeBytes + framesBytes);
  const numbers = Math.ceil(
    Math.max(wantedBytes / PAGE_BYTES, Math.ceil(leastBytes / share) + ROUNDING_FRAMES * (pcpus + 1)),
  );
  const lineMap = page(frameTable + FRAME_TABLE_BYTES * numbers);
  const watchers = page(lineMap + LINE_MAP_BYTES * numbers);
  const own = page(watchers + numbers);
  const ownBytes = codeBytes + 2 * page(4 * numbers);
  const codeBase = own + pcpu * ownBytes;
  const heatBase = page(codeBase + codePages * CODE_PAGE_BYTES);
  const codeMap = page(heatBase + heatPages * HEAT_PAGE_BYTES);
  const heatMap = page(codeMap + 4 * numbers);
  const frames = own + pcpus * ownBytes;
  const totalBytes = Math.max(page(frames + framesBytes), Math.floor(wantedBytes / 0x1_0000) * 0x1_0000);
  assert(totalBytes <= numbers * PAGE_BYTES, 'every frame has a place in the tables');
  return {
    codeBase,
    codePages,
    heatBase,
    heatPages,
    pageMap,
    frameTable,
    codeMap,
    heatMap,
    lineMap,
    watchers,
    frames,
    frameCount: (totalBytes - frames) / PAGE_BYTES,
    totalBytes,
  };
}
