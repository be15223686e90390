/**
 * Guest memory as devices and loaders see it, over its frames in the engine's domain. Every address is the guest's word: it is checked
 * here, once, against the guest's regions. A write tells the engine about pre-decoded code it overwrote.
 */

import { copyBytes } from '../base/copy-bytes.ts';
import { assert } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import type { Domain } from '../engine/domain.ts';
import type { Guest } from '../engine/guest.ts';
import type { GuestMemory, MemoryRange } from './device.ts';

const IN_PAGE = PAGE_SIZE - 1;

export class Ram implements GuestMemory {
  readonly #guest: Guest;
  readonly #domain: Domain;
  /** The largest region, where nearly every access goes: its addresses, and the index of its first page. */
  readonly #mainBase: number;
  readonly #mainBytes: number;
  readonly #mainPage: number;
  readonly #mainWritable: boolean;
  /** Loans that were not given back, by the indices of their pages. */
  readonly #lent = new Map<number, number>();

  constructor(guest: Guest) {
    this.#guest = guest;
    this.#domain = guest.domain;
    const main = guest.regions.reduce((largest, region) => (region.sizeBytes > largest.sizeBytes ? region : largest));
    this.#mainBase = main.base;
    this.#mainBytes = main.sizeBytes;
    this.#mainPage = guest.pageIndex(main.base);
    this.#mainWritable = main.writable;
  }

  /** Pages of which devices hold views now; frames may not move while it is not 0. */
  get loans(): number {
    return this.#lent.size;
  }

  /** Pages, by their indices, of which devices hold views now: their frames stay where they are. */
  lentPages(): number[] {
    return [...this.#lent.keys()];
  }

  contains(address: number, size: number, forWrite = false): boolean {
    return this.#regionHas(address, size, forWrite);
  }

  load8(address: number): number | undefined {
    const host = this.#cell(address, 1, false);
    return host < 0 ? undefined : this.#domain.u8[host];
  }

  load16(address: number): number | undefined {
    const host = this.#cell(address, 2, false);
    if (host < 0) return undefined;
    if (host % 2 === 0) return Atomics.load(this.#domain.u16, host >>> 1);
    return this.#little(address, 2);
  }

  load32(address: number): number | undefined {
    const host = this.#cell(address, 4, false);
    if (host < 0) return undefined;
    if (host % 4 === 0) return this.#domain.u32[host >>> 2];
    return this.#little(address, 4);
  }

  load64(address: number): number | undefined {
    if (!this.contains(address, 8)) return undefined;
    const low = this.load32(address) ?? 0;
    const high = this.load32(address + 4) ?? 0;
    return high < 0x20_0000 ? high * 2 ** 32 + low : Number.MAX_SAFE_INTEGER;
  }

  store8(address: number, value: number): boolean {
    const host = this.#cell(address, 1, true);
    if (host < 0) return false;
    this.#domain.u8[host] = value;
    this.#written(address, 1);
    return true;
  }

  store16(address: number, value: number): boolean {
    const host = this.#cell(address, 2, true);
    if (host < 0) return false;
    if (host % 2 !== 0) return this.write(address, Uint8Array.of(value & 0xff, (value >>> 8) & 0xff));
    Atomics.store(this.#domain.u16, host >>> 1, value);
    this.#written(address, 2);
    return true;
  }

  store32(address: number, value: number): boolean {
    const host = this.#cell(address, 4, true);
    if (host < 0) return false;
    if (host % 4 !== 0)
      return this.write(
        address,
        Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24),
      );
    this.#domain.u32[host >>> 2] = value;
    this.#written(address, 4);
    return true;
  }

  read(address: number, into: Uint8Array): boolean {
    const page = this.#within(address, into.length, false);
    if (page >= 0) {
      copyBytes(this.#domain.u8, page, page + into.length, into, 0);
      return true;
    }
    if (!this.contains(address, into.length)) return false;
    this.#eachPage(address, into.length, this.#reading, (host, at, length) =>
      copyBytes(this.#domain.u8, host, host + length, into, at),
    );
    return true;
  }

  write(address: number, from: Uint8Array): boolean {
    const page = this.#within(address, from.length, true);
    if (page >= 0) {
      copyBytes(from, 0, from.length, this.#domain.u8, page);
      this.#written(address, from.length);
      return true;
    }
    if (!this.#regionHas(address, from.length, true)) return false;
    this.#eachPage(address, from.length, this.#writing, (host, at, length) =>
      copyBytes(from, at, at + length, this.#domain.u8, host),
    );
    this.#written(address, from.length);
    return true;
  }

  views(address: number, size: number, forWrite: boolean): Uint8Array[] | undefined {
    if (!this.#regionHas(address, size, forWrite)) return undefined;
    const within = address & IN_PAGE;
    if (size > 0 && within + size <= PAGE_SIZE) {
      const host = this.#guest.lend(this.#pageIndex(address), forWrite) + within;
      this.#count(address, size, 1);
      return [this.#domain.u8.subarray(host, host + size)];
    }
    const views: { start: number; end: number }[] = [];
    const lend = (index: number): number => this.#guest.lend(index, forWrite);
    this.#eachPage(address, size, lend, (host, _at, length) => {
      const last = views.at(-1);
      if (last?.end === host) last.end = host + length;
      else views.push({ start: host, end: host + length });
    });
    this.#count(address, size, 1);
    return views.map(({ start, end }) => this.#domain.u8.subarray(start, end));
  }

  release(address: number, size: number, forWrite: boolean): void {
    this.#count(address, size, -1);
    if (forWrite) this.#written(address, size);
  }

  /** So many more loans of each page of the range. */
  #count(address: number, size: number, more: number): void {
    if (size === 0) return;
    const last = this.#pageIndex(address + size - 1);
    for (let index = this.#pageIndex(address); index <= last; index++) {
      const loans = (this.#lent.get(index) ?? 0) + more;
      assert(loans >= 0, 'what is given back was lent');
      if (loans === 0) this.#lent.delete(index);
      else this.#lent.set(index, loans);
    }
  }

  forget(ranges: readonly MemoryRange[]): boolean {
    if (!ranges.every(({ address, size }) => this.#regionHas(address, size, true))) return false;
    // What is on loan must stay this guest's.
    if (this.#lent.size > 0) return true;
    const pages: number[] = [];
    for (const { address, size } of ranges) this.#guest.addTouched(this.#pageIndex(address), size / PAGE_SIZE, pages);
    this.#guest.forget(pages);
    return true;
  }

  /** Fills ROM: the one write that read-only regions allow. */
  writeRom(address: number, from: Uint8Array): void {
    this.#eachPage(address, from.length, this.#writing, (host, at, length) =>
      copyBytes(from, at, at + length, this.#domain.u8, host),
    );
    this.#written(address, from.length);
  }

  #regionHas(address: number, size: number, forWrite: boolean): boolean {
    const offset = address - this.#mainBase;
    if (offset >= 0 && offset + size <= this.#mainBytes) return this.#mainWritable || !forWrite;
    for (const region of this.#guest.regions) {
      if (address >= region.base && address + size <= region.base + region.sizeBytes)
        return region.writable || !forWrite;
    }
    return false;
  }

  /** Host address of `size` bytes within one page, or -1 when there is no RAM. Crossing cells are checked whole, and found by `#little`. */
  #cell(address: number, size: number, forWrite: boolean): number {
    if (!this.#regionHas(address, size, forWrite)) return -1;
    return this.#guest.host(this.#pageIndex(address), forWrite) + (address & IN_PAGE);
  }

  /** Host address of bytes that lie within one page of RAM; -1 when they do not. */
  #within(address: number, size: number, forWrite: boolean): number {
    return (address & IN_PAGE) + size <= PAGE_SIZE && size > 0 ? this.#cell(address, size, forWrite) : -1;
  }

  /** Index of the page at an address. INVARIANT: regions begin with a page, and none is larger than 4 GiB. */
  #pageIndex(address: number): number {
    const offset = address - this.#mainBase;
    if (offset >= 0 && offset < this.#mainBytes) return this.#mainPage + (offset >>> PAGE_SHIFT);
    return this.#guest.pageIndex(address);
  }

  #little(address: number, size: number): number {
    const bytes = new Uint8Array(size);
    this.read(address, bytes);
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
  }

  readonly #reading = (index: number): number => this.#guest.host(index, false);
  readonly #writing = (index: number): number => this.#guest.host(index, true);

  /** Calls `each` with the host address, the position in the range and the length of every page's part. */
  #eachPage(
    address: number,
    size: number,
    hostOf: (index: number) => number,
    each: (host: number, at: number, length: number) => void,
  ): void {
    for (let at = 0; at < size;) {
      const offset = (address + at) & IN_PAGE;
      const length = Math.min(PAGE_SIZE - offset, size - at);
      each(hostOf(this.#pageIndex(address + at)) + offset, at, length);
      at += length;
    }
  }

  #written(address: number, size: number): void {
    if (size === 0) return;
    const first = this.#pageIndex(address);
    const last = (address & IN_PAGE) + size <= PAGE_SIZE ? first : this.#pageIndex(address + size - 1);
    for (let index = first; index <= last; index++) {
      if (!this.#guest.hasCode(index)) continue;
      const from = index === first ? address & IN_PAGE : 0;
      const to = index === last ? ((address + size - 1) & IN_PAGE) + 1 : PAGE_SIZE;
      this.#guest.codeWritten(index, from, to - from);
    }
  }
}
