/**
 * A memory domain: the shared memory, its frames, the page map of one guest, and its pre-decoded code pages.
 *
 * Frames come when a page is first touched: a page that was only read shares the zero frame. Who writes a page with pre-decoded code
 * (a hart's store or a device's DMA) says so through `codeWritten`, and the code page is dropped if what was written had been decoded.
 */

import { assert, defined } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import { SPECIAL } from './handlers.ts';
import {
  CODE_PAGE_BYTES,
  CONTROL,
  type DomainLayout,
  FETCH_TLB_ENTRIES,
  MAX_DOMAIN_BYTES,
  MAX_REGIONS,
  PAGE,
  RECORD,
  RECORDS_PER_PAGE,
  REGION,
  REGION_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_FETCH,
  TLB_READ,
  TLB_WRITE,
  domainLayout,
  hartBase,
} from './layout.ts';
import { type CodeMemory, decodeRun } from './predecode.ts';

/** A range of guest-physical space with frames behind it. */
export interface Region {
  readonly base: number;
  readonly sizeBytes: number;
  /** False for ROM: stores by harts and devices are refused. */
  readonly writable: boolean;
}

/** Code pages kept by default: 28 MiB of records. */
export const DEFAULT_CODE_PAGES = 896;

export class Domain implements CodeMemory {
  readonly memory: WebAssembly.Memory;
  readonly memoryPages: number;
  readonly layout: DomainLayout;
  readonly regions: readonly Region[];
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i64: BigInt64Array;
  readonly u64: BigUint64Array;
  readonly #harts: number[] = [];
  /** Index of a region's first page in the page map, by region. */
  readonly #firstIndex: readonly number[];
  #nextFrame: number;
  readonly #framesEnd: number;
  readonly #zeroFrame: number;
  /** Guest page of each code page, or -1. */
  readonly #pageOfCode: Int32Array;
  #nextCode = 0;

  constructor(regions: readonly Region[], codePages = DEFAULT_CODE_PAGES) {
    assert(regions.length > 0 && regions.length <= MAX_REGIONS, 'a guest has between one and eight memory regions');
    const pages = regions.map((region) => region.sizeBytes / PAGE_SIZE);
    assert(
      regions.every((region) => region.base % PAGE_SIZE === 0 && region.sizeBytes % PAGE_SIZE === 0),
      'memory regions are whole pages',
    );
    const total = pages.reduce((sum, count) => sum + count, 0);
    this.layout = domainLayout(total, total + 1, codePages);
    assert(this.layout.totalBytes <= MAX_DOMAIN_BYTES, 'the guest fits a 32-bit memory');
    this.regions = regions;
    this.memoryPages = this.layout.totalBytes / 0x1_0000;
    this.memory = new WebAssembly.Memory({ initial: this.memoryPages, maximum: this.memoryPages, shared: true });
    const { buffer } = this.memory;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i64 = new BigInt64Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.#zeroFrame = this.layout.frames;
    this.#nextFrame = this.layout.frames + PAGE_SIZE;
    this.#framesEnd = this.layout.frames + this.layout.frameCount * PAGE_SIZE;
    this.#pageOfCode = new Int32Array(codePages).fill(-1);
    this.#firstIndex = this.#writeControl(pages);
  }

  /** Makes a hart's TLBs known, so that pages can be taken from them. */
  addHart(id: number): void {
    this.#harts.push(hartBase(id));
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
    if (!forWrite) {
      this.u32[slot] = (this.#zeroFrame | PAGE.PRESENT) >>> 0;
      return this.u32[slot];
    }
    assert(this.#nextFrame < this.#framesEnd, 'there is a frame for every page');
    const frame = this.#nextFrame;
    this.#nextFrame += PAGE_SIZE;
    // The page showed the zero frame until now: entries that map it are stale. So is code decoded from it.
    if (entry & PAGE.PRESENT) this.#purge(TLB_READ, TLB_ENTRIES, this.#zeroFrame);
    this.u32[slot] = (frame | PAGE.PRESENT | PAGE.WRITABLE | (entry & PAGE.WATCHED)) >>> 0;
    return this.u32[slot];
  }

  /** Host address of page `index` for reading or writing. */
  host(index: number, forWrite: boolean): number {
    return (this.frame(index, forWrite) & ~PAGE.MASK) >>> 0;
  }

  /** Frames handed out so far, in bytes. */
  get residentBytes(): number {
    return this.#nextFrame - this.layout.frames;
  }

  /** Code pages in use. */
  get codePagesInUse(): number {
    return this.#pageOfCode.reduce((sum, page) => sum + (page >= 0 ? 1 : 0), 0);
  }

  hasCode(index: number): boolean {
    return this.u32[(this.layout.codeMap >>> 2) + index] !== 0;
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
    this.#pageOfCode[number] = index;
    this.u32[slot] = address;
    // Writes to the page must be seen: it leaves the write TLBs and may not come back while it is watched.
    const entry = this.frame(index, false);
    this.u32[(this.layout.pageMap >>> 2) + index] = (entry | PAGE.WATCHED) >>> 0;
    this.#purge(TLB_WRITE, TLB_ENTRIES, (entry & ~PAGE.MASK) >>> 0);
    return address;
  }

  /**
   * `bytes` at `offset` of page `index` were written: its pre-decoded code is void, unless nothing was decoded there. Data that lies in the
   * same page as code is written again and again.
   */
  codeWritten(index: number, offset: number, bytes: number): void {
    const records = defined(this.u32[(this.layout.codeMap >>> 2) + index], 'a code map entry');
    if (records === 0) return;
    const decodedAt = (slot: number): boolean => this.u16[(records + slot * RECORD.BYTES) >>> 1] !== SPECIAL.decode;
    const first = offset >>> 1;
    const last = (offset + bytes - 1) >>> 1;
    // A record that stands for two instructions needs no look: the second has a record of its own.
    if (first > 0 && decodedAt(first - 1) && this.#decodedLength(records, first - 1) > 2) return this.#dropCode(index);
    for (let slot = first; slot <= last; slot++) if (decodedAt(slot)) return this.#dropCode(index);
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
    const map = (this.layout.pageMap >>> 2) + index;
    this.u32[map] = (defined(this.u32[map], 'a page map entry') & ~PAGE.WATCHED) >>> 0;
    for (const hart of this.#harts) {
      const table = hart + TLB_FETCH;
      for (let entry = 0; entry < FETCH_TLB_ENTRIES; entry++) {
        const at = table + entry * TLB_ENTRY_BYTES;
        if (this.u32[(at + 8) >>> 2] === address) this.u64[at >>> 3] = 0n;
      }
    }
  }

  /** Decodes from the record at `record` on. */
  decode(record: number): void {
    const number = Math.floor((record - this.layout.codeBase) / CODE_PAGE_BYTES);
    const records = this.layout.codeBase + number * CODE_PAGE_BYTES;
    const page = defined(this.#pageOfCode[number], 'a code page');
    assert(page >= 0, 'a record that is executed belongs to a page');
    decodeRun(this, records, this.host(page, false), (record - records) / RECORD.BYTES);
  }

  /** Removes every entry of a TLB that maps `frame`. */
  #purge(table: number, entries: number, frame: number): void {
    for (const hart of this.#harts) {
      for (let entry = 0; entry < entries; entry++) {
        const at = hart + table + entry * TLB_ENTRY_BYTES;
        // host = low 32 bits of the page's address + addend
        const page = defined(this.u32[at >>> 2], 'a tag') & ~PAGE.MASK;
        if ((page + defined(this.i32[(at + 8) >>> 2], 'an addend')) >>> 0 === frame) this.u64[at >>> 3] = 0n;
      }
    }
  }

  #writeControl(pages: readonly number[]): number[] {
    const word = (offset: number, value: number): void => {
      this.u32[offset >>> 2] = value;
    };
    word(CONTROL.pageMap, this.layout.pageMap);
    word(CONTROL.codeMap, this.layout.codeMap);
    word(CONTROL.codeBase, this.layout.codeBase);
    word(CONTROL.regionCount, this.regions.length);
    let index = 0;
    return this.regions.map((region, number) => {
      const first = index;
      const at = CONTROL.regions + number * REGION_BYTES;
      this.u64[(at + REGION.FIRST) >>> 3] = BigInt(Math.floor(region.base / 2 ** PAGE_SHIFT));
      this.u64[(at + REGION.COUNT) >>> 3] = BigInt(defined(pages[number], 'a region'));
      word(at + REGION.INDEX, first);
      word(at + REGION.WRITABLE, region.writable ? 1 : 0);
      index += defined(pages[number], 'a region');
      return first;
    });
  }
}
