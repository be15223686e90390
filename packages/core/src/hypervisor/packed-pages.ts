/**
 * Pages that were packed into frames of their domain: a frame holds several of about the same size.
 *
 *     a page of 700 bytes ──> a frame of places of 816 bytes, five of them, one of which is free
 *
 * INVARIANT: a frame is held as long as one of its places is taken, and no longer.
 */

import { assert, defined } from '../base/assert.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../base/numbers.ts';
import type { Domain } from '../engine/domain.ts';
import { LZ4_TABLE_BYTES } from '../engine/lz4-block.ts';
import type { PageWork } from '../engine/page-work.ts';

/** A page that takes more when it is packed is not kept here. */
export const LARGEST_PACKED_BYTES = PAGE_SIZE / 2;
/** Sizes of places; a frame has as many of one size as fit. */
const SIZES = [256, 408, 512, 680, 816, 1024, 1360, LARGEST_PACKED_BYTES] as const;
assert(LZ4_TABLE_BYTES + LARGEST_PACKED_BYTES <= PAGE_SIZE, 'one frame is enough to pack in');

interface Shelf {
  readonly frame: number;
  readonly size: number;
  /** A bit for each place that is free. */
  free: number;
}

export class PackedPages {
  readonly #domain: Domain;
  readonly #work: PageWork;
  /** Frames by their number, and those of a size that have a free place. */
  readonly #shelves = new Map<number, Shelf>();
  readonly #open = new Map<number, Set<Shelf>>(SIZES.map((size) => [size, new Set()]));
  /** Where pages are packed and looked at. */
  #scratch = 0;

  constructor(domain: Domain, work: PageWork) {
    this.#domain = domain;
    this.#work = work;
  }

  /** Frames that it holds, one of them for its work. */
  get frames(): number {
    return this.#shelves.size + (this.#scratch === 0 ? 0 : 1);
  }

  /** Packs the page at `frame`: where it is and how long, or undefined when it does not become small. */
  pack(frame: number): { readonly at: number; readonly bytes: number } | undefined {
    const { u8, frames } = this.#domain;
    this.#scratch ||= frames.hold();
    const packed = this.#scratch + LZ4_TABLE_BYTES;
    const bytes = this.#work.packPage(frame, packed, LARGEST_PACKED_BYTES, this.#scratch);
    if (bytes === 0) return undefined;
    const at = this.#take(
      defined(
        SIZES.find((size) => size >= bytes),
        'a size',
      ),
    );
    u8.copyWithin(at, packed, packed + bytes);
    return { at, bytes };
  }

  /** Fills the page at `frame` with what was packed to `at`. */
  unpack(at: number, bytes: number, frame: number): void {
    assert(this.#work.unpackPage(at, bytes, frame) === 1, 'a page that was packed can be unpacked');
  }

  /** What is at `at` is not needed any more. */
  free(at: number): void {
    const shelf = defined(this.#shelves.get(at >>> PAGE_SHIFT), 'a frame of packed pages');
    const place = (at - shelf.frame) / shelf.size;
    assert((shelf.free & (1 << place)) === 0, 'a place that is freed was taken');
    shelf.free |= 1 << place;
    const open = defined(this.#open.get(shelf.size), 'a size');
    if (shelf.free !== allOf(shelf.size)) {
      open.add(shelf);
      return;
    }
    open.delete(shelf);
    this.#shelves.delete(at >>> PAGE_SHIFT);
    this.#domain.frames.release(shelf.frame);
  }

  /** Gives back the frame that it works in; nothing is packed any more. */
  close(): void {
    if (this.#scratch !== 0) this.#domain.frames.release(this.#scratch);
    this.#scratch = 0;
  }

  #take(size: number): number {
    const open = defined(this.#open.get(size), 'a size');
    let [shelf] = open;
    if (shelf === undefined) {
      shelf = { frame: this.#domain.frames.hold(), size, free: allOf(size) };
      this.#shelves.set(shelf.frame >>> PAGE_SHIFT, shelf);
      open.add(shelf);
    }
    const place = 31 - Math.clz32(shelf.free);
    shelf.free &= ~(1 << place);
    if (shelf.free === 0) open.delete(shelf);
    return shelf.frame + place * size;
  }
}

function allOf(size: number): number {
  return (1 << Math.floor(PAGE_SIZE / size)) - 1;
}
