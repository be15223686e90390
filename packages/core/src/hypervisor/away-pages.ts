/**
 * Where pages are that have no frame: packed in frames of the domain, or in the paging file. A page has a number, which the page maps that have it
 * show (engine/page-reclaim.ts).
 *
 *     frame ── packs to half or less, and there is room ──> packed ── the oldest, when there is room no more ──┐
 *           ── does not ─────────────────────────────────────────────────────────────────────────────────────┴─> paging file
 *
 * What comes back from the paging file is checked against what was written: whoever is told other bytes is told an error instead.
 */

import { copyBytes } from '../base/copy-bytes.ts';
import { assert, defined } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import type { Domain } from '../engine/domain.ts';
import { type AwayPages, MAXIMUM_AWAY_PAGES } from '../engine/page-reclaim.ts';
import type { PageWork } from '../engine/page-work.ts';
import { PackedPages } from './packed-pages.ts';

/** A file of pages that nobody else has. Both throw an error with a sentence for people when they cannot. */
export interface PagingFile {
  /** How many pages it may have. */
  readonly pages: number;
  write(page: number, bytes: Uint8Array): void;
  read(page: number, into: Uint8Array): void;
}

/** What a number stands for, by `bytes`: 0 a page of the file, else a packed one of so many bytes. */
export interface AwayCounts {
  /** Pages that are packed and paged out now. */
  readonly packed: number;
  readonly paged: number;
  /** Frames that the packed ones take. */
  readonly packedFrames: number;
  /** Pages that were packed, unpacked, written to the file and read from it since the beginning. */
  readonly packs: number;
  readonly unpacks: number;
  readonly pageOuts: number;
  readonly pageIns: number;
}

/** Packed pages that are brought to the file for the sake of one: more make whoever waits for that wait long. */
const EVICTED_PAGES = 32;

export class AwayStore implements AwayPages {
  readonly #domain: Domain;
  readonly #work: PageWork;
  readonly #packed: PackedPages;
  readonly #file: PagingFile | undefined;
  /** For packed pages. One more that packs when there are so many brings the oldest to the file, or goes there itself where those are far too many. */
  mostPackedFrames: number;
  readonly #references = new Uint32Array(MAXIMUM_AWAY_PAGES);
  /** Where it is: a host address, or a page of the file. Of a free number: the next free one. */
  readonly #where = new Uint32Array(MAXIMUM_AWAY_PAGES);
  readonly #bytes = new Uint16Array(MAXIMUM_AWAY_PAGES);
  /** Of a page in the file, what its bytes amount to. */
  readonly #hash = new Int32Array(MAXIMUM_AWAY_PAGES);
  #freeNumber = 0;
  /** The first number that was never used; 0 is none. */
  #nextNumber = 1;
  readonly #freeFilePages: number[] = [];
  #nextFilePage = 0;
  /** Packed ones, the oldest first. */
  readonly #order = new Set<number>();
  /** Numbers of frames that several page maps had when the first was put away, and the other way round. */
  readonly #ofFrame = new Map<number, number>();
  readonly #frameOf = new Map<number, number>();
  readonly #page = new Uint8Array(PAGE_SIZE);
  #scratch = 0;
  readonly #counts = { packs: 0, unpacks: 0, pageOuts: 0, pageIns: 0, paged: 0 };
  /** Why the last page that does not pack had no place; undefined when it had. */
  problem: string | undefined;

  /** Packed pages take `mostPackedFrames` frames at most. */
  constructor(domain: Domain, work: PageWork, file: PagingFile | undefined, mostPackedFrames: number) {
    this.#domain = domain;
    this.#work = work;
    this.#packed = new PackedPages(domain, work);
    this.#file = file;
    this.mostPackedFrames = mostPackedFrames;
  }

  get counts(): AwayCounts {
    return { ...this.#counts, packed: this.#order.size, packedFrames: this.frames };
  }

  /** Frames that it holds. */
  get frames(): number {
    return this.#packed.frames + (this.#scratch === 0 ? 0 : 1);
  }

  /** Whether page `number` is packed; else it is in the file. */
  isPacked(number: number): boolean {
    return (this.#bytes[number] ?? 0) > 0;
  }

  /** A number for the bytes of the page at `frame`, which is the same for all page maps that have the frame; undefined when there is no place for them. */
  put(frame: number): number | undefined {
    const isShared = this.#domain.frames.references(frame) > 1;
    const known = this.#ofFrame.get(frame);
    if (known !== undefined && this.#holds(known, frame)) {
      this.keep(known);
      return known;
    }
    const number = this.#pack(frame) ?? this.#pageOut(frame);
    if (number === undefined) return undefined;
    this.#references[number] = 1;
    if (isShared) {
      this.#forgetFrame(known);
      this.#ofFrame.set(frame, number);
      this.#frameOf.set(number, frame);
    }
    return number;
  }

  load(number: number, frame: number): void {
    const bytes = this.#bytes[number] ?? 0;
    const where = defined(this.#where[number], 'a page that is away');
    if (bytes > 0) {
      this.#packed.unpack(where, bytes, frame);
      this.#counts.unpacks++;
      return;
    }
    defined(this.#file, 'a paging file').read(where, this.#page);
    copyBytes(this.#page, 0, PAGE_SIZE, this.#domain.u8, frame);
    if (this.#work.hashPage(frame) !== this.#hash[number])
      throw new Error('the paging file gives other bytes than were written to it');
    this.#counts.pageIns++;
  }

  keep(number: number): void {
    this.#references[number] = (this.#references[number] ?? 0) + 1;
  }

  drop(number: number): void {
    const left = (this.#references[number] ?? 0) - 1;
    assert(left >= 0, 'a page that is dropped was there');
    this.#references[number] = left;
    if (left > 0) return;
    this.#leave(number);
    this.#forgetFrame(number);
    this.#bytes[number] = 0;
    this.#where[number] = this.#freeNumber;
    this.#freeNumber = number;
  }

  /** References of a number, for who checks. */
  references(number: number): number {
    return this.#references[number] ?? 0;
  }

  /** Where packed pages take more frames than they may, because those have become fewer, brings some to the file: so many pages at most. */
  pageOutOver(pages: number): void {
    if (this.#file === undefined) return;
    let left = pages;
    for (const number of this.#order)
      if (this.#packed.frames <= this.mostPackedFrames || left-- <= 0 || !this.#toFile(number)) break;
  }

  /** Gives back the frames that it works in; nothing is away any more. */
  close(): void {
    this.#packed.close();
    if (this.#scratch !== 0) this.#domain.frames.release(this.#scratch);
    this.#scratch = 0;
  }

  #pack(frame: number): number | undefined {
    for (let evicted = 0; this.#packed.frames >= this.mostPackedFrames; evicted++) {
      const [oldest] = this.#order;
      if (oldest === undefined || evicted >= EVICTED_PAGES || !this.#toFile(oldest)) return undefined;
    }
    const packed = this.#packed.pack(frame);
    if (packed === undefined) return undefined;
    const number = this.#newNumber();
    if (number === undefined) {
      this.#packed.free(packed.at);
      return undefined;
    }
    this.#where[number] = packed.at;
    this.#bytes[number] = packed.bytes;
    this.#order.add(number);
    this.#counts.packs++;
    return number;
  }

  #pageOut(frame: number): number | undefined {
    const number = this.#newNumber();
    if (number === undefined) return undefined;
    this.#bytes[number] = 0;
    if (this.#write(number, frame)) return number;
    this.#where[number] = this.#freeNumber;
    this.#freeNumber = number;
    return undefined;
  }

  /** A packed page goes into the file. */
  #toFile(number: number): boolean {
    const [at, bytes] = [this.#where[number] ?? 0, this.#bytes[number] ?? 0];
    this.#scratch ||= this.#domain.frames.hold();
    this.#packed.unpack(at, bytes, this.#scratch);
    if (!this.#write(number, this.#scratch)) return false;
    this.#packed.free(at);
    this.#order.delete(number);
    this.#bytes[number] = 0;
    return true;
  }

  /** Puts the page at `frame` into the file; false, and nothing has changed, when that cannot be. */
  #write(number: number, frame: number): boolean {
    const { u8 } = this.#domain;
    const page = this.#freeFilePages.pop() ?? this.#nextFilePage;
    if (this.#file === undefined || page >= this.#file.pages) {
      this.problem = this.#file === undefined ? 'there is no paging file' : 'the paging file is full';
      return false;
    }
    copyBytes(u8, frame, frame + PAGE_SIZE, this.#page, 0);
    try {
      this.#file.write(page, this.#page);
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      if (page < this.#nextFilePage) this.#freeFilePages.push(page);
      return false;
    }
    if (page === this.#nextFilePage) this.#nextFilePage++;
    this.problem = undefined;
    this.#where[number] = page;
    this.#hash[number] = this.#work.hashPage(frame);
    this.#counts.pageOuts++;
    this.#counts.paged++;
    return true;
  }

  #leave(number: number): void {
    const where = this.#where[number] ?? 0;
    if (this.isPacked(number)) {
      this.#packed.free(where);
      this.#order.delete(number);
    } else {
      this.#freeFilePages.push(where);
      this.#counts.paged--;
    }
  }

  /** Whether page `number` has the bytes of the page at `frame`. */
  #holds(number: number, frame: number): boolean {
    this.#scratch ||= this.#domain.frames.hold();
    try {
      this.load(number, this.#scratch);
    } catch {
      return false;
    }
    return this.#work.equalPages(this.#scratch, frame) === 1;
  }

  #forgetFrame(number: number | undefined): void {
    const frame = number === undefined ? undefined : this.#frameOf.get(number);
    if (number === undefined || frame === undefined) return;
    this.#frameOf.delete(number);
    if (this.#ofFrame.get(frame) === number) this.#ofFrame.delete(frame);
  }

  #newNumber(): number | undefined {
    const number = this.#freeNumber;
    if (number !== 0) {
      this.#freeNumber = this.#where[number] ?? 0;
      return number;
    }
    if (this.#nextNumber < MAXIMUM_AWAY_PAGES) return this.#nextNumber++;
    this.problem = `as many pages are put away as there can be, which is ${MAXIMUM_AWAY_PAGES - 1}`;
    return undefined;
  }
}
