/**
 * A memory domain: the shared memory, its frames, the page map of one guest, and its pre-decoded code pages.
 *
 * Frames come when a page is first touched: a page that was only read shares the zero frame. Who writes a page with pre-decoded code
 * (a hart's store or a device's DMA) says so through `codeWritten`; what was decoded of the bytes is decoded anew. Stores ask the line map first:
 * data that shares a page with code, but no line, is written without asking anybody.
 */

import { assert, defined } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import { LONGEST_SEQUENCE_BYTES, SPECIAL, bytesCovered } from './handlers.ts';
import {
  CODE_PAGE_BYTES,
  CODE_PAGE_INDEX,
  CONTROL,
  type DomainLayout,
  MAX_DOMAIN_BYTES,
  MAX_REGIONS,
  PAGE,
  HART,
  HEAT_PAGE_BYTES,
  LINE_BITS,
  LINK,
  RECORD,
  RECORDS_PER_PAGE,
  REGION,
  REGION_BYTES,
  TLB_ENTRIES,
  TLB_READ,
  TLB_WRITE,
  domainLayout,
  hartBase,
  pcpuOf,
} from './layout.ts';
import { PageStates } from './page-states.ts';
import { PcpuWords, locked } from './pcpu-words.ts';
import { type CodeMemory, RUN_LIMIT, decodeRun } from './predecode.ts';

/** A range of guest-physical space with frames behind it. */
export interface Region {
  readonly base: number;
  readonly sizeBytes: number;
  /** False for ROM: stores by harts and devices are refused. */
  readonly writable: boolean;
}

/** Code pages kept by default: 28 MiB of records. */
export const DEFAULT_CODE_PAGES = 896;
/** And where hot code is compiled: of a boot, which is mostly executed a few times, nothing has to be decoded twice. 40 MiB at most. */
export const JIT_CODE_PAGES = 1280;
/** Writes into the code of a page after which all of it is decoded anew, and the page seen as data until it is executed again. */
const WRITES_UNTIL_DROPPED = 8;
/** A longer write is a page being filled. */
const LONGEST_PATCH = 64;
/** Records before the written one that may stand for it: one whose instruction reaches into it, and those fused with that. */
const REACH_BACK = LONGEST_SEQUENCE_BYTES / 2 - 1;

/** Heat pages kept: code of 8 MiB may be hot at once. The first one stays empty. */
const HEAT_PAGES = 2048;

/** Compiled code of the domain's pages, as the domain needs to know it. */
export interface Translations {
  /** Whether page `index` has compiled code. */
  has(index: number): boolean;
  /** Bytes [from, to) of page `index` were written. */
  written(index: number, from: number, to: number): void;
  /** Page `index` loses its heat page. */
  dropped(index: number): void;
}

/** How several threads execute the harts of one domain. */
export interface Threads {
  readonly pcpus: number;
  /** Of this thread, or -1 when it executes nothing. */
  readonly own: number;
  /** The domain's memory, when another thread has made it. */
  readonly memory?: WebAssembly.Memory;
}

/** Removes every entry of a TLB that maps `frame`: (hart, table, entries, frame). In WebAssembly, because TLBs are big. */
export type Purge = (hart: number, table: number, entries: number, frame: number) => void;

/** Removes every entry of the fetch TLB whose word at `offset` is `address`: (hart, offset, address). */
type Forget = (hart: number, offset: number, address: number) => void;

export class Domain implements CodeMemory {
  readonly memory: WebAssembly.Memory;
  readonly memoryPages: number;
  /** Pages of guest-physical space: of RAM, then of ROMs. */
  readonly pageCount: number;
  readonly layout: DomainLayout;
  readonly regions: readonly Region[];
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  readonly u64: BigUint64Array;
  /** What this thread and the others tell each other; undefined when there is no other. */
  readonly words: PcpuWords | undefined;
  readonly #harts: number[] = [];
  /** Those that this thread executes. */
  readonly #ownHarts: number[] = [];
  /** Index of a region's first page in the page map, by region. */
  readonly #firstIndex: readonly number[];
  readonly #framesEnd: number;
  readonly #zeroFrame: number;
  /** Guest page of each code page, or -1. */
  readonly #pageOfCode: Int32Array;
  #nextCode = 0;
  /** Writes into decoded code, by code page. */
  readonly #codeWrites: Uint8Array;
  /** Guest page of each heat page, or -1. The first is nobody's. */
  readonly #pageOfHeat = new Int32Array(HEAT_PAGES).fill(-1);
  #nextHeat = 1;
  /** Pages that come from a snapshot, and pages that go into one. */
  readonly states = new PageStates(this);
  /** Set by the engine that runs the domain. */
  translations: Translations | undefined;
  purge: Purge = () => {};
  forget: Forget = () => {};

  constructor(regions: readonly Region[], codePages = DEFAULT_CODE_PAGES, threads?: Threads) {
    assert(regions.length > 0 && regions.length <= MAX_REGIONS, 'a guest has between one and eight memory regions');
    const pages = regions.map((region) => region.sizeBytes / PAGE_SIZE);
    assert(
      regions.every((region) => region.base % PAGE_SIZE === 0 && region.sizeBytes % PAGE_SIZE === 0),
      'memory regions are whole pages',
    );
    const total = pages.reduce((sum, count) => sum + count, 0);
    this.pageCount = total;
    const { pcpus = 1, own = 0 } = threads ?? {};
    this.layout = domainLayout(total, total + 1, codePages, HEAT_PAGES, pcpus, Math.max(own, 0));
    assert(this.layout.totalBytes <= MAX_DOMAIN_BYTES, 'the guest fits a 32-bit memory');
    this.regions = regions;
    this.memoryPages = this.layout.totalBytes / 0x1_0000;
    this.memory =
      threads?.memory ?? new WebAssembly.Memory({ initial: this.memoryPages, maximum: this.memoryPages, shared: true });
    const { buffer } = this.memory;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i64 = new BigInt64Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.#zeroFrame = this.layout.frames;
    this.#framesEnd = this.layout.frames + this.layout.frameCount * PAGE_SIZE;
    this.#pageOfCode = new Int32Array(codePages).fill(-1);
    this.#codeWrites = new Uint8Array(codePages);
    this.words = threads && new PcpuWords(this.i32, pcpus, own);
    this.#firstIndex = this.#writeControl(pages, threads?.memory === undefined);
  }

  /** Makes a hart's TLBs known, so that pages can be taken from them. */
  addHart(id: number): void {
    const base = hartBase(id);
    this.#harts.push(base);
    const { words } = this;
    if (words && words.own !== pcpuOf(id, words.count)) return;
    this.#ownHarts.push(base);
    this.u32[(base + LINK.codeMap) >>> 2] = this.layout.codeMap;
    this.u32[(base + LINK.heatMap) >>> 2] = this.layout.heatMap;
  }

  /** Index of the page at a guest-physical address, or -1 when no region has it. */
  pageIndex(address: number): number {
    for (const [number, region] of this.regions.entries()) {
      const offset = address - region.base;
      if (offset >= 0 && offset < region.sizeBytes)
        return defined(this.#firstIndex[number], 'a region') + Math.floor(offset / PAGE_SIZE);
    }
    return -1;
  }

  /** The page map entry of page `index`, which may now be read (or written). */
  frame(index: number, forWrite: boolean): number {
    const slot = (this.layout.pageMap >>> 2) + index;
    const entry = defined(this.u32[slot], 'a page map entry');
    if (forWrite ? entry & PAGE.WRITABLE : entry & PAGE.PRESENT) return entry;
    if (entry & (PAGE.ELSEWHERE | PAGE.KEPT)) return this.states.ready(index);
    // Several threads never have the zero frame: who replaces it could not know when the others have let go of it.
    if (this.words) return this.locked(() => this.#newFrame(slot));
    if (!forWrite) {
      this.u32[slot] = (this.#zeroFrame | PAGE.PRESENT) >>> 0;
      return this.u32[slot];
    }
    // The page may have shown the zero frame until now: entries that map it are stale.
    if (entry & PAGE.PRESENT) this.#purgeZeroFrame();
    return this.#newFrame(slot);
  }

  #newFrame(slot: number): number {
    const entry = Atomics.load(this.u32, slot);
    if (entry & PAGE.WRITABLE) return entry;
    const made = (this.takeFrames(1) | PAGE.PRESENT | PAGE.WRITABLE | (entry & PAGE.WATCHED)) >>> 0;
    Atomics.store(this.u32, slot, made);
    return made;
  }

  /** Hands out `count` frames side by side, all zero, and gives the address of the first. Where there are several threads only while locked. */
  takeFrames(count: number): number {
    const next = CONTROL.nextFrame >>> 2;
    const frame = defined(this.u32[next], 'the next frame');
    assert(frame + count * PAGE_SIZE <= this.#framesEnd, 'there is a frame for every page');
    this.u32[next] = frame + count * PAGE_SIZE;
    return frame;
  }

  /** Takes the frame back that was handed out last. Where there are several threads only while locked. */
  returnFrame(frame: number): void {
    this.u8.fill(0, frame, frame + PAGE_SIZE);
    this.u32[CONTROL.nextFrame >>> 2] = frame;
  }

  /** Nobody else changes the page map, or who watches which page, while `work` is done. */
  locked<T>(work: () => T): T {
    return locked(this.i32, CONTROL.lock >>> 2, work);
  }

  #purgeZeroFrame(): void {
    for (const hart of this.#harts) {
      const flag = (hart + HART.zeroMapped) >>> 2;
      if (this.u32[flag] === 0) continue;
      this.u32[flag] = 0;
      // Compiled code may know the page without the TLB.
      const epoch = CONTROL.codeEpoch >>> 2;
      this.u32[epoch] = (defined(this.u32[epoch], 'the epoch') + 1) >>> 0;
      this.purge(hart, TLB_READ, TLB_ENTRIES, this.#zeroFrame);
    }
  }

  /** Host address of page `index` for reading or writing. */
  host(index: number, forWrite: boolean): number {
    return (this.frame(index, forWrite) & ~PAGE.MASK) >>> 0;
  }

  /** Frames handed out so far, in bytes. */
  get residentBytes(): number {
    return defined(this.u32[CONTROL.nextFrame >>> 2], 'the next frame') - this.layout.frames;
  }

  /** Code pages in use. */
  get codePagesInUse(): number {
    return this.#pageOfCode.reduce((sum, page) => sum + (page >= 0 ? 1 : 0), 0);
  }

  /** Whether writes to page `index` have to be told to `codeWritten`. */
  hasCode(index: number): boolean {
    const slot = (this.layout.pageMap >>> 2) + index;
    // Between threads: either who begins to watch the page sees what was written before, or this sees that it is watched.
    const entry = this.words ? Atomics.or(this.u32, slot, 0) : defined(this.u32[slot], 'a page map entry');
    return (entry & PAGE.WATCHED) !== 0;
  }

  /** The code page of guest page `index`, an empty one if it had none. The oldest one goes when there is no room. */
  codePage(index: number): number {
    const slot = (this.layout.codeMap >>> 2) + index;
    const known = defined(this.u32[slot], 'a code map entry');
    if (known !== 0) return known;
    const number = this.#nextCode;
    this.#nextCode = (number + 1) % this.layout.codePages;
    const previous = defined(this.#pageOfCode[number], 'a code page');
    if (previous >= 0) this.#dropCode(previous);
    const address = this.layout.codeBase + number * CODE_PAGE_BYTES;
    this.u8.fill(0, address, address + CODE_PAGE_BYTES);
    this.u16[(address + RECORDS_PER_PAGE * RECORD.BYTES) >>> 1] = SPECIAL.nextPage;
    this.u32[(address + CODE_PAGE_INDEX) >>> 2] = index;
    this.#pageOfCode[number] = index;
    this.#codeWrites[number] = 0;
    this.u32[slot] = address;
    this.#watch(index);
    return address;
  }

  /** Writes to these bytes of page `index` must be seen: there is compiled code of them. */
  watch(index: number, ranges: readonly (readonly [from: number, to: number])[]): void {
    this.#watch(index);
    for (const [from, to] of ranges) this.#markLines(index, from, to);
  }

  #markLines(index: number, from: number, to: number): void {
    const word = (this.layout.lineMap + 8 * index) >>> 2;
    for (let line = from >>> LINE_BITS; line <= (to - 1) >>> LINE_BITS; line++) {
      const at = word + (line >>> 5);
      Atomics.or(this.u32, at, 1 << (line & 31));
    }
  }

  /** The page leaves the write TLBs and may not come back while it is watched. */
  #watch(index: number): void {
    const entry = this.frame(index, false);
    const { words } = this;
    const slot = (this.layout.pageMap >>> 2) + index;
    if (words) {
      const [watchers, bit] = [this.layout.watchers + index, 1 << words.own];
      if ((Atomics.load(this.u8, watchers) & bit) !== 0) return;
      const before = this.locked(() => {
        Atomics.or(this.u8, watchers, bit);
        return Atomics.or(this.u32, slot, PAGE.WATCHED);
      });
      // Another thread may have set it just now, and wait still: so does this one.
      if ((before & PAGE.WATCHED) === 0) this.#purgeWrites(entry);
      words.settle();
      return;
    }
    if (entry & PAGE.WATCHED) return;
    this.u32[slot] = (entry | PAGE.WATCHED) >>> 0;
    this.#purgeWrites(entry);
  }

  #purgeWrites(entry: number): void {
    for (const hart of this.#harts) this.purge(hart, TLB_WRITE, TLB_ENTRIES, (entry & ~PAGE.MASK) >>> 0);
  }

  /** Ends the watch of page `index` when neither decoded nor compiled code is left of it. */
  unwatch(index: number): void {
    if (this.u32[(this.layout.codeMap >>> 2) + index] !== 0 || this.translations?.has(index) === true) return;
    const map = (this.layout.pageMap >>> 2) + index;
    const { words } = this;
    if (words) {
      this.locked(() => {
        const watchers = this.layout.watchers + index;
        Atomics.and(this.u8, watchers, ~(1 << words.own));
        if (Atomics.load(this.u8, watchers) !== 0) return;
        Atomics.and(this.u32, map, ~PAGE.WATCHED);
        for (const word of [0, 1]) Atomics.store(this.u32, (this.layout.lineMap >>> 2) + 2 * index + word, 0);
      });
      return;
    }
    this.u32[map] = (defined(this.u32[map], 'a page map entry') & ~PAGE.WATCHED) >>> 0;
    this.u64[(this.layout.lineMap >>> 3) + index] = 0n;
  }

  /** The heat page of guest page `index`, an empty one if it had none. The oldest one goes when there is no room. */
  heatPage(index: number): number {
    const slot = (this.layout.heatMap >>> 2) + index;
    const known = defined(this.u32[slot], 'a heat map entry');
    if (known !== 0) return known;
    const number = this.#nextHeat;
    this.#nextHeat = number + 1 < HEAT_PAGES ? number + 1 : 1;
    const address = this.layout.heatBase + number * HEAT_PAGE_BYTES;
    const previous = defined(this.#pageOfHeat[number], 'a heat page');
    if (previous >= 0) {
      this.translations?.dropped(previous);
      this.u32[(this.layout.heatMap >>> 2) + previous] = 0;
      this.#forgetFetches(12, address);
    }
    this.u8.fill(0, address, address + HEAT_PAGE_BYTES);
    this.#pageOfHeat[number] = index;
    this.u32[slot] = address;
    return address;
  }

  /** The guest page that the heat page at `address` belongs to, or -1. */
  pageOfHeat(address: number): number {
    return this.#pageOfHeat[Math.floor((address - this.layout.heatBase) / HEAT_PAGE_BYTES)] ?? -1;
  }

  /** Whether something was decoded at `offset` of page `index`: it was executed, or lies on the way of what was. */
  isDecoded(index: number, offset: number): boolean {
    const records = defined(this.u32[(this.layout.codeMap >>> 2) + index], 'a code map entry');
    return records !== 0 && this.u16[(records + (offset >>> 1) * RECORD.BYTES) >>> 1] !== SPECIAL.decode;
  }

  /**
   * `bytes` at `offset` of page `index` were written: what was decoded of them is void. A page that is written as code again and again is
   * decoded anew as a whole: by then it may be a page of data.
   */
  codeWritten(index: number, offset: number, bytes: number): void {
    this.words?.tell(Atomics.load(this.u8, this.layout.watchers + index), index, offset, bytes);
    // The machine's thread has no code of its own beside those of pCPUs.
    if (!this.words || this.words.own >= 0) this.#ownCodeWritten(index, offset, bytes);
  }

  /** Drops what other threads have written of this one's code. */
  takeWritten(): void {
    const written = this.words?.take();
    if (written) for (const { page, offset, bytes } of written) this.#ownCodeWritten(page, offset, bytes);
    else if (this.words)
      for (const page of [...this.#pageOfCode, ...this.#pageOfHeat])
        if (page >= 0) this.#ownCodeWritten(page, 0, PAGE_SIZE);
  }

  #ownCodeWritten(index: number, offset: number, bytes: number): void {
    this.translations?.written(index, offset, offset + bytes);
    const records = defined(this.u32[(this.layout.codeMap >>> 2) + index], 'a code map entry');
    if (records === 0) return;
    const first = offset >>> 1;
    const last = (offset + bytes - 1) >>> 1;
    const reach = Math.max(first - REACH_BACK, 0);
    let isHit = false;
    // A sequence stands for its instructions even where their own records are void already.
    for (let slot = reach; slot <= last && !isHit; slot++)
      isHit = this.#isRecord(records, slot) && (slot >= first || slot + this.#coveredHalves(records, slot) > first);
    if (!isHit) return;
    const number = (records - this.layout.codeBase) / CODE_PAGE_BYTES;
    const writes = defined(this.#codeWrites[number], 'a code page') + 1;
    if (bytes > LONGEST_PATCH || writes === WRITES_UNTIL_DROPPED) return this.#dropCode(index);
    this.#codeWrites[number] = writes;
    for (let slot = reach; slot <= last; slot++) this.u16[(records + slot * RECORD.BYTES) >>> 1] = SPECIAL.decode;
  }

  #isRecord(records: number, slot: number): boolean {
    return this.u16[(records + slot * RECORD.BYTES) >>> 1] !== SPECIAL.decode;
  }

  /** How many halfwords of code the record at `slot` stands for. */
  #coveredHalves(records: number, slot: number): number {
    const handler = defined(this.u16[(records + slot * RECORD.BYTES) >>> 1], 'a record');
    return (bytesCovered(handler) ?? this.#decodedLength(records, slot)) >>> 1;
  }

  #decodedLength(records: number, slot: number): number {
    return defined(this.u16[(records + slot * RECORD.BYTES + RECORD.ENTRY) >>> 1], 'a record') >>> 12;
  }

  #dropCode(index: number): void {
    const slot = (this.layout.codeMap >>> 2) + index;
    const address = defined(this.u32[slot], 'a code map entry');
    if (address === 0) return;
    this.u32[slot] = 0;
    this.#pageOfCode[(address - this.layout.codeBase) / CODE_PAGE_BYTES] = -1;
    this.unwatch(index);
    this.#forgetFetches(8, address);
  }

  /** Removes the fetch TLB entries whose word at `offset` is `address`. */
  #forgetFetches(offset: 8 | 12, address: number): void {
    for (const hart of this.#ownHarts) this.forget(hart, offset, address);
  }

  /** Decodes from the record at `record` on. */
  decode(record: number): void {
    const number = Math.floor((record - this.layout.codeBase) / CODE_PAGE_BYTES);
    const records = this.layout.codeBase + number * CODE_PAGE_BYTES;
    const page = defined(this.#pageOfCode[number], 'a code page');
    assert(page >= 0, 'a record that is executed belongs to a page');
    const first = (record - records) / RECORD.BYTES;
    const code = this.host(page, false);
    const half = (code >>> 1) + first;
    for (;;) {
      const seen = this.words && this.u16.slice(half, half + 2 * RUN_LIMIT);
      decodeRun(this, records, code, first);
      const end = this.#markRun(page, records, first);
      // From the marks on others tell of what they write; what they wrote before shows in the code.
      if (!seen || seen.subarray(0, end - first).every((was, at) => Atomics.load(this.u16, half + at) === was)) return;
      for (let slot = first; slot < end; slot++) this.u16[(records + slot * RECORD.BYTES) >>> 1] = SPECIAL.decode;
    }
  }

  /** Marks the lines of the records from `first` on, as far as one decoding may have made them; gives the slot behind them. */
  #markRun(page: number, records: number, first: number): number {
    let slot = first;
    for (let n = 0; n < RUN_LIMIT && slot < RECORDS_PER_PAGE && this.#isRecord(records, slot); n++)
      slot += Math.max(this.#decodedLength(records, slot) >>> 1, 1);
    if (slot > first) this.#markLines(page, 2 * first, Math.min(2 * slot, PAGE_SIZE));
    return slot;
  }

  /** `isNew`: nobody else has written it. */
  #writeControl(pages: readonly number[], isNew: boolean): number[] {
    const word = (offset: number, value: number): void => {
      if (isNew) this.u32[offset >>> 2] = value;
    };
    word(CONTROL.pageMap, this.layout.pageMap);
    word(CONTROL.lineMap, this.layout.lineMap);
    word(CONTROL.nextFrame, this.layout.frames + PAGE_SIZE);
    word(CONTROL.regionCount, this.regions.length);
    let index = 0;
    return this.regions.map((region, number) => {
      const first = index;
      const at = CONTROL.regions + number * REGION_BYTES;
      const [page, count] = [Math.floor(region.base / 2 ** PAGE_SHIFT), defined(pages[number], 'a region')];
      word(at + REGION.FIRST, page % 2 ** 32);
      word(at + REGION.FIRST + 4, Math.floor(page / 2 ** 32));
      word(at + REGION.COUNT, count);
      word(at + REGION.INDEX, first);
      word(at + REGION.WRITABLE, region.writable ? 1 : 0);
      index += defined(pages[number], 'a region');
      return first;
    });
  }
}
