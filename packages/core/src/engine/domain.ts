/**
 * A memory domain: the shared memory, its frames (frames.ts), its guests (guest.ts), and what is made of the code in its frames.
 *
 * Code belongs to a frame, by its number: guests that share a frame share what was decoded and compiled of it, and a guest that gets a frame of
 * its own has none of that. Who writes a frame with pre-decoded code (a hart's store or a device's DMA) says so through `codeWritten`; what was
 * decoded of the bytes is decoded anew. Stores ask the line map first: data that shares a page with code, but no line, is written without asking
 * anybody. A frame that guests share is not written.
 */

import { assert, defined } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import type { BlockWork } from './block-work.ts';
import { Frames } from './frames.ts';
import { Guest, type Region } from './guest.ts';
import { LONGEST_SEQUENCE_BYTES, SPECIAL, bytesCovered } from './handlers.ts';
import {
  CODE_PAGE_BYTES,
  CODE_PAGE_FRAME,
  CONTROL,
  DERIVED,
  type DomainLayout,
  FETCH_TLB_ENTRIES,
  MAX_DOMAIN_BYTES,
  MAX_REGIONS,
  PAGE,
  HEAT_PAGE_BYTES,
  LINE_BITS,
  LINK,
  RECORD,
  RECORDS_PER_PAGE,
  REGION,
  REGION_BYTES,
  MANY_ENTRIES,
  SHARED_PLACES,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_FETCH,
  TLB_READ,
  TLB_WRITE,
  WALK_CACHE,
  WALK_CACHE_ENTRIES,
  WALK_CACHE_ENTRY,
  domainLayout,
  hartBase,
} from './layout.ts';
import type { AwayPages } from './page-reclaim.ts';
import { PcpuWords, locked } from './pcpu-words.ts';
import { type CodeMemory, RUN_LIMIT, decodeRun } from './predecode.ts';

/** Code pages kept by default: 28 MiB of records. */
export const DEFAULT_CODE_PAGES = 896;
/**
 * And where hot code is compiled, of all threads together: of a boot, which is mostly executed a few times, nothing has to be decoded twice, and a
 * distribution with its services has room. 128 MiB where a guest executes so much.
 */
const JIT_CODE_PAGES = 4096;
const ROOM_ALIGNMENT = 64;
/** Writes into the code of a page after which all of it is decoded anew, and the page seen as data until it is executed again. */
const WRITES_UNTIL_DROPPED = 8;
/** A longer write is a page being filled. */
const LONGEST_PATCH = 64;
/** Records before the written one that may stand for it: one whose instruction reaches into it, and those fused with that. */
const REACH_BACK = LONGEST_SEQUENCE_BYTES / 2 - 1;

/**
 * Heat pages kept, of all threads together: code of 32 MiB may be hot at once. The oldest one goes with all that was compiled in it, so there have
 * to be more than a distribution's kernel and services execute. Of each thread's the first one stays empty.
 */
const HEAT_PAGES = 8192;
/** Of each thread at least. */
const LEAST_HEAT_PAGES = 2048;

/** Of a domain of a size of its own, these parts of its pages at most. */
const CODE_PART = 1 / 64;
const HEAT_PART = 1 / 32;

/** Code pages of each of `threads` that execute harts, where code is compiled. */
export function codePagesOf(threads: number, domainBytes = Infinity): number {
  const most = Math.min(JIT_CODE_PAGES / threads, (domainBytes / PAGE_SIZE) * CODE_PART);
  return Math.max(DEFAULT_CODE_PAGES, Math.floor(most));
}

export function heatPagesOf(threads: number, domainBytes = Infinity): number {
  const most = Math.min(HEAT_PAGES / threads, (domainBytes / PAGE_SIZE) * HEAT_PART);
  return Math.max(LEAST_HEAT_PAGES, Math.floor(most));
}

/** Compiled code of the domain's frames, as the domain needs to know it. */
export interface Translations {
  /** Whether frame number `frame` has compiled code. */
  has(frame: number): boolean;
  /** Bytes [from, to) of frame number `frame` were written. */
  written(frame: number, from: number, to: number): void;
  /** Frame number `frame` loses its heat page. */
  dropped(frame: number): void;
}

/** What a domain may be made with. */
export interface DomainOptions {
  /** Code pages kept; DEFAULT_CODE_PAGES when absent. */
  readonly codePages?: number | undefined;
  /** Heat pages kept; `heatPagesOf` when absent. */
  readonly heatPages?: number | undefined;
  /** How big it is, up to MAX_DOMAIN_BYTES, so that there is room for further guests; when absent, or too small, as big as its first guest needs. */
  readonly totalBytes?: number | undefined;
  readonly threads?: Threads | undefined;
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
  readonly layout: DomainLayout;
  readonly frames: Frames;
  /** The one that it was made for. */
  readonly guest: Guest;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  readonly u64: BigUint64Array;
  /** What this thread and the others tell each other; undefined when there is no other. */
  readonly words: PcpuWords | undefined;
  readonly #harts: number[] = [];
  /** Frames of each code page, by number, or -1. */
  readonly #frameOfCode: Int32Array;
  #nextCode = 0;
  /** Code pages below were used before; the rest is zero still. */
  #usedCode = 0;
  /** Writes into decoded code, by code page. */
  readonly #codeWrites: Uint8Array;
  /** Frames of each heat page, by number, or -1. The first is nobody's. */
  readonly #frameOfHeat: Int32Array;
  #nextHeat = 1;
  /** As with code pages. */
  #usedHeat = 1;
  /** Set by the engine that runs the domain. */
  translations: Translations | undefined;
  /** Where pages are that have no frame because there were too few (page-reclaim.ts); set by who puts them there. */
  away: AwayPages | undefined;
  /** Who gives a page a frame when more are in use lets the hart that wants it stop soon, so that others are given back. */
  softLimitBytes = Infinity;
  purge: Purge = () => {};
  /** Empties the TLBs of a hart, by its base. */
  clear: (hart: number) => void = () => {};
  forget: Forget = () => {};
  /** Set with them. */
  blocks: BlockWork | undefined;

  constructor(
    regions: readonly Region[],
    { codePages = DEFAULT_CODE_PAGES, heatPages, totalBytes, threads }: DomainOptions = {},
  ) {
    const guestPages = pagesOf(regions);
    const { pcpus = 1, own = 0 } = threads ?? {};
    const size = { guestPages, codePages, heatPages: heatPages ?? heatPagesOf(pcpus, totalBytes), totalBytes };
    this.layout = domainLayout(size, pcpus, Math.max(own, 0));
    assert(this.layout.totalBytes <= MAX_DOMAIN_BYTES, 'the guest fits a 32-bit memory');
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
    this.#frameOfCode = new Int32Array(codePages).fill(-1);
    this.#frameOfHeat = new Int32Array(size.heatPages).fill(-1);
    this.#codeWrites = new Uint8Array(codePages);
    this.words = threads && new PcpuWords(this.i32, pcpus, own);
    this.frames = new Frames(this.u8, this.u32, this.layout);
    this.guest = new Guest(this, regions, this.layout.pageMap, CONTROL.tickOffset);
    this.guest.isResident = true;
    // Another thread has done it already.
    if (threads?.memory !== undefined) return;
    this.frames.begin();
    this.u32[CONTROL.lineMap >>> 2] = this.layout.lineMap;
    this.writeRegions(this.guest);
  }

  /** Another guest, with `bytes` at `at` for its harts; throws a DomainFullError when there is no room. `removeGuest` gives it back. */
  addGuest(regions: readonly Region[], bytes: number): { readonly guest: Guest; readonly at: number } {
    const mapBytes = guestMapBytes(pagesOf(regions));
    const pageMap = this.locked(() =>
      this.frames.takeRun(Math.ceil((mapBytes + GUEST_WORDS_BYTES + bytes) / PAGE_SIZE)),
    );
    const words = pageMap + mapBytes;
    return { guest: new Guest(this, regions, pageMap, words), at: words + GUEST_WORDS_BYTES };
  }

  removeGuest(guest: Guest, bytes: number): void {
    guest.release();
    const size = guestMapBytes(guest.pages) + GUEST_WORDS_BYTES + bytes;
    this.locked(() => this.frames.giveRun(guest.pageMap, Math.ceil(size / PAGE_SIZE)));
  }

  /** Makes the place known in which hart `id` of a guest is executed, so that pages can be taken from its TLBs. */
  addHart(id: number): void {
    const base = hartBase(id);
    if (this.#harts.includes(base)) return;
    this.#harts.push(base);
    const { words } = this;
    if (words && words.own < 0) words.places.put(id, id % words.count);
  }

  /** Writes what the generated code is to know of hart `id` of `guest`, whose state is at `base`. */
  linkHart(id: number, base: number, guest: Guest): void {
    const { words } = this;
    this.u32[(base + LINK.pageMap) >>> 2] = guest.pageMap;
    if (!words || words.places.has(id)) this.#linkCode(base);
  }

  /** A hart comes from another thread: what it knew of code was that one's. */
  adoptHart(id: number): void {
    const base = hartBase(id);
    this.#linkCode(base);
    this.u8.fill(0, base + TLB_FETCH, base + TLB_FETCH + FETCH_TLB_ENTRIES * TLB_ENTRY_BYTES);
  }

  #linkCode(base: number): void {
    this.u32[(base + LINK.codeMap) >>> 2] = this.layout.codeMap;
    this.u32[(base + LINK.heatMap) >>> 2] = this.layout.heatMap;
  }

  /** Nobody else changes page maps, frames, or who watches which frame, while `work` is done. */
  locked<T>(work: () => T): T {
    return this.words ? locked(this.i32, CONTROL.lock >>> 2, work) : work();
  }

  /** A page that showed `frame` has another one: neither TLBs nor compiled code may know the old one. */
  purgeMoved(frame: number): void {
    for (const hart of this.#harts) this.#purgeReads(hart, frame);
    this.#voidEpoch();
    this.#forgetCodeOf(frame >>> PAGE_SHIFT);
  }

  /** The same where other threads may know it just now. */
  purgeMovedAmongThreads(frame: number): void {
    const { words } = this;
    words?.settle();
    for (const hart of this.#harts) this.#purgeReads(hart, frame);
    this.#voidEpoch();
    this.#forgetCodeOf(frame >>> PAGE_SHIFT);
    words?.tell(
      Atomics.load(this.u8, this.layout.watchers + (frame >>> PAGE_SHIFT)),
      frame >>> PAGE_SHIFT,
      0,
      PAGE_SIZE,
    );
    words?.settle();
  }

  /** Pages that had these frames, by their numbers, have none any more: nobody may know the old ones. Their harts may be executed meanwhile. */
  purgeGone(frames: readonly number[]): void {
    // What looked at the page map before has come to its TLB, and then what found something there has done with it.
    this.words?.settle();
    for (const hart of this.#harts) {
      if (this.words) this.#dropTranslations(hart);
      else this.clear(hart);
    }
    this.#voidEpoch();
    for (const frame of frames) this.#forgetCodeOf(frame);
    this.words?.settle();
  }

  /** Waits a little for what another thread is doing. */
  awaitOthers(): void {
    this.words?.settle();
  }

  /**
   * Removes the translations of a hart that another thread may be executing: nothing but tags, for who has just found one takes what stands beside it,
   * and not the numbers of contexts, which the hart has in use.
   */
  #dropTranslations(hart: number): void {
    for (let entry = hart + TLB_READ; entry < hart + WALK_CACHE; entry += TLB_ENTRY_BYTES) this.u32[entry >>> 2] = 0;
    const end = hart + WALK_CACHE + WALK_CACHE_ENTRIES * WALK_CACHE_ENTRY.BYTES;
    for (let entry = hart + WALK_CACHE; entry < end; entry += WALK_CACHE_ENTRY.BYTES) this.u64[entry >>> 3] = 0n;
  }

  #purgeReads(hart: number, frame: number): void {
    // A last page table may lie in it.
    const end = hart + WALK_CACHE + WALK_CACHE_ENTRIES * WALK_CACHE_ENTRY.BYTES;
    for (let entry = hart + WALK_CACHE; entry < end; entry += WALK_CACHE_ENTRY.BYTES)
      if (this.u32[(entry + WALK_CACHE_ENTRY.TABLE) >>> 2] === frame) this.u64[entry >>> 3] = 0n;
    const place = (hart + DERIVED.sharedEntries + 2 * ((frame >>> PAGE_SHIFT) % SHARED_PLACES)) >>> 1;
    const known = defined(this.u16[place], 'a place');
    if (known === 0) return;
    if (known === MANY_ENTRIES) {
      this.purge(hart, TLB_READ, TLB_ENTRIES, frame);
      if (frame === this.frames.zero) this.u16[place] = 0;
      return;
    }
    const entry = (hart + TLB_READ + (known - 1) * TLB_ENTRY_BYTES) >>> 2;
    const page = defined(this.u32[entry], 'a tag') & ~PAGE.MASK;
    if ((page + defined(this.u32[entry + 2], 'an addend')) >>> 0 !== frame) return;
    this.u64[entry >>> 1] = 0n;
    this.u16[place] = 0;
  }

  #voidEpoch(): void {
    // Compiled code may know the page without the TLB.
    Atomics.add(this.u32, CONTROL.codeEpoch >>> 2, 1);
  }

  /** Nobody fetches from frame number `frame` without looking at the page map again. */
  #forgetCodeOf(frame: number): void {
    const records = defined(this.u32[(this.layout.codeMap >>> 2) + frame], 'a code map entry');
    if (records !== 0) this.#forgetFetches(8, records);
  }

  /** Frame number `frame` is nobody's any more, and with it what was made of its code. */
  frameFreed(frame: number): void {
    if (!this.isWatching(frame)) return;
    this.words?.tell(Atomics.load(this.u8, this.layout.watchers + frame), frame, 0, PAGE_SIZE);
    this.translations?.written(frame, 0, PAGE_SIZE);
    this.#dropCode(frame);
  }

  /** Code pages in use. */
  get codePagesInUse(): number {
    return this.#frameOfCode.reduce((sum, page) => sum + (page >= 0 ? 1 : 0), 0);
  }

  /** Whether there is, or may be, decoded or compiled code of frame number `frame`: who writes to it says so. */
  isWatching(frame: number): boolean {
    if (this.words) return Atomics.load(this.u8, this.layout.watchers + frame) !== 0;
    return this.u32[(this.layout.codeMap >>> 2) + frame] !== 0 || this.translations?.has(frame) === true;
  }

  /** The code page of frame number `index`, an empty one if it had none. The oldest one goes when there is no room. */
  codePage(index: number): number {
    const slot = (this.layout.codeMap >>> 2) + index;
    const known = defined(this.u32[slot], 'a code map entry');
    if (known !== 0) return known;
    const number = this.#nextCode;
    this.#nextCode = (number + 1) % this.layout.codePages;
    const previous = defined(this.#frameOfCode[number], 'a code page');
    if (previous >= 0) this.#dropCode(previous);
    const address = this.layout.codeBase + number * CODE_PAGE_BYTES;
    if (number < this.#usedCode) this.u8.fill(0, address, address + CODE_PAGE_BYTES);
    else this.#usedCode = number + 1;
    this.u16[(address + RECORDS_PER_PAGE * RECORD.BYTES) >>> 1] = SPECIAL.nextPage;
    this.u32[(address + CODE_PAGE_FRAME) >>> 2] = index;
    this.#frameOfCode[number] = index;
    this.#codeWrites[number] = 0;
    this.u32[slot] = address;
    this.#watch(index);
    return address;
  }

  /** Writes to these bytes of frame number `index` must be seen: there is compiled code of them. */
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

  /** The same of lines by their bits, 32 in each word; nobody has the frame in a write TLB. */
  watchLines(index: number, low: number, high: number): void {
    const word = (this.layout.lineMap + 8 * index) >>> 2;
    this.u32[word] = (this.u32[word] ?? 0) | low;
    this.u32[word + 1] = (this.u32[word + 1] ?? 0) | high;
  }

  /**
   * Room among the code pages that nobody uses yet, zeroes, where `pages` more of them leave so much: at the end, and to be zeroes again before it is
   * wanted for one.
   */
  codeRoom(pages: number, bytes: number): Uint8Array | undefined {
    const { codeBase, codePages } = this.layout;
    const end = codeBase + codePages * CODE_PAGE_BYTES;
    const start = Math.floor((end - bytes) / ROOM_ALIGNMENT) * ROOM_ALIGNMENT;
    if (start < codeBase + (this.#usedCode + pages) * CODE_PAGE_BYTES) return undefined;
    return this.u8.subarray(start, start + bytes);
  }

  /** The frame leaves the write TLBs and may not come back while it is watched. One that guests share is in none. */
  #watch(frame: number): void {
    const { words } = this;
    if (words) {
      const [watchers, bit] = [this.layout.watchers + frame, 1 << words.own];
      if ((Atomics.load(this.u8, watchers) & bit) !== 0) return;
      const before = this.locked(() => {
        Atomics.or(this.u8, watchers, bit);
        const slot = this.frames.owner(frame);
        return slot === 0 ? PAGE.WATCHED : Atomics.or(this.u32, slot, PAGE.WATCHED);
      });
      // Another thread may have set it just now, and wait still: so does this one.
      if ((before & PAGE.WATCHED) === 0) this.#purgeWrites(frame);
      words.settle();
      return;
    }
    const slot = this.frames.owner(frame);
    const entry = this.u32[slot] ?? 0;
    if (slot === 0 || entry & PAGE.WATCHED) return;
    this.u32[slot] = (entry | PAGE.WATCHED) >>> 0;
    this.#purgeWrites(frame);
  }

  #purgeWrites(frame: number): void {
    for (const hart of this.#harts) this.purge(hart, TLB_WRITE, TLB_ENTRIES, frame * PAGE_SIZE);
  }

  /** Ends the watch of frame number `frame` when neither decoded nor compiled code is left of it. */
  unwatch(frame: number): void {
    if (this.u32[(this.layout.codeMap >>> 2) + frame] !== 0 || this.translations?.has(frame) === true) return;
    const { words } = this;
    this.locked(() => {
      if (words) {
        const watchers = this.layout.watchers + frame;
        Atomics.and(this.u8, watchers, ~(1 << words.own));
        if (Atomics.load(this.u8, watchers) !== 0) return;
      }
      for (const word of [0, 1]) Atomics.store(this.u32, (this.layout.lineMap >>> 2) + 2 * frame + word, 0);
      const slot = this.frames.references(frame * PAGE_SIZE) === 1 ? this.frames.owner(frame) : 0;
      if (slot !== 0) Atomics.and(this.u32, slot, ~PAGE.WATCHED);
    });
  }

  /** The heat page of frame number `index`, an empty one if it had none. The oldest one goes when there is no room. */
  heatPage(index: number): number {
    const slot = (this.layout.heatMap >>> 2) + index;
    const known = defined(this.u32[slot], 'a heat map entry');
    if (known !== 0) return known;
    const number = this.#nextHeat;
    this.#nextHeat = number + 1 < this.layout.heatPages ? number + 1 : 1;
    const address = this.layout.heatBase + number * HEAT_PAGE_BYTES;
    const previous = defined(this.#frameOfHeat[number], 'a heat page');
    if (previous >= 0) {
      this.translations?.dropped(previous);
      this.u32[(this.layout.heatMap >>> 2) + previous] = 0;
      this.#forgetFetches(12, address);
    }
    if (number < this.#usedHeat) this.u8.fill(0, address, address + HEAT_PAGE_BYTES);
    else this.#usedHeat = number + 1;
    this.#frameOfHeat[number] = index;
    this.u32[slot] = address;
    return address;
  }

  /** The number of the frame that the heat page at `address` belongs to, or -1. */
  frameOfHeat(address: number): number {
    return this.#frameOfHeat[Math.floor((address - this.layout.heatBase) / HEAT_PAGE_BYTES)] ?? -1;
  }

  /** Whether something was decoded at `offset` of frame number `index`: it was executed, or lies on the way of what was. */
  isDecoded(index: number, offset: number): boolean {
    const records = defined(this.u32[(this.layout.codeMap >>> 2) + index], 'a code map entry');
    return records !== 0 && this.u16[(records + (offset >>> 1) * RECORD.BYTES) >>> 1] !== SPECIAL.decode;
  }

  /**
   * `bytes` at `offset` of frame number `index` were written: what was decoded of them is void. A page that is written as code again and again is
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
      for (const page of [...this.#frameOfCode, ...this.#frameOfHeat])
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
    this.#frameOfCode[(address - this.layout.codeBase) / CODE_PAGE_BYTES] = -1;
    this.unwatch(index);
    this.#forgetFetches(8, address);
  }

  /** Removes the fetch TLB entries whose word at `offset` is `address`. */
  #forgetFetches(offset: 8 | 12, address: number): void {
    const { words } = this;
    // One that is taken from this thread meanwhile forgets everything.
    for (const [id, hart] of this.#harts.entries())
      if (!words || words.places.of(id) === words.own) this.forget(hart, offset, address);
  }

  /** Decodes from the record at `record` on. */
  decode(record: number): void {
    const number = Math.floor((record - this.layout.codeBase) / CODE_PAGE_BYTES);
    const records = this.layout.codeBase + number * CODE_PAGE_BYTES;
    const page = defined(this.#frameOfCode[number], 'a code page');
    assert(page >= 0, 'a record that is executed belongs to a frame');
    const first = (record - records) / RECORD.BYTES;
    const code = page * PAGE_SIZE;
    const half = (code >>> 1) + first;
    for (;;) {
      const seen = this.words && this.u16.slice(half, half + 2 * RUN_LIMIT);
      const end = decodeRun(this, records, code, first);
      if (end > first) this.#markLines(page, 2 * first, Math.min(2 * end, PAGE_SIZE));
      // From the marks on others tell of what they write; what they wrote before shows in the code.
      if (!seen || seen.subarray(0, end - first).every((was, at) => Atomics.load(this.u16, half + at) === was)) return;
      for (let slot = first; slot < end; slot++) this.u16[(records + slot * RECORD.BYTES) >>> 1] = SPECIAL.decode;
    }
  }

  /** Says where the memory of `guest`, and of those that are like it, is. */
  writeRegions({ regions }: Guest): void {
    this.u32[CONTROL.regionCount >>> 2] = regions.length;
    let index = 0;
    for (const [number, region] of regions.entries()) {
      const at = CONTROL.regions + number * REGION_BYTES;
      const [page, count] = [Math.floor(region.base / 2 ** PAGE_SHIFT), region.sizeBytes / PAGE_SIZE];
      this.u32[(at + REGION.FIRST) >>> 2] = page % 2 ** 32;
      this.u32[(at + REGION.FIRST + 4) >>> 2] = Math.floor(page / 2 ** 32);
      this.u32[(at + REGION.COUNT) >>> 2] = count;
      this.u32[(at + REGION.INDEX) >>> 2] = index;
      this.u32[(at + REGION.WRITABLE) >>> 2] = region.writable ? 1 : 0;
      index += count;
    }
  }
}

/** Words of a guest beside its page map: the offset of its ticks. */
const GUEST_WORDS_BYTES = 64;

function guestMapBytes(pages: number): number {
  return Math.ceil((4 * pages) / 64) * 64;
}

function pagesOf(regions: readonly Region[]): number {
  assert(regions.length > 0 && regions.length <= MAX_REGIONS, 'a guest has between one and eight memory regions');
  assert(
    regions.every((region) => region.base % PAGE_SIZE === 0 && region.sizeBytes % PAGE_SIZE === 0),
    'memory regions are whole pages',
  );
  return regions.reduce((sum, { sizeBytes }) => sum + sizeBytes / PAGE_SIZE, 0);
}
