/**
 * Writes the pages of a snapshot while the machine runs on: those that hold something, each content once, and only what no parent has.
 *
 *     take a page ──> all zero? nothing ──> known by its digest? its place ──> a frame of FRAME_PAGES ──zstd──> the pack
 */

import { assert } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type GuestPages, holdsSomething } from '../../machine/guest-pages.ts';
import { PAGES_FILE } from './manifest.ts';
import {
  FRAME_PAGES,
  PAGE_DIGEST_BYTES,
  type PageFrame,
  type PageIndex,
  type PagePlace,
  joinedDigests,
  packPlace,
  pageDigest,
  placeOf,
} from './page-index.ts';
import type { SnapshotCodec, SnapshotSink } from './ports.ts';

/** Frames that are being compressed or written while more pages are taken. */
const FRAMES_UNDER_WAY = 8;
/** A frame of zstd that packs nothing has 3 bytes more for each 128 KiB, and a head of 18 at most. */
const PACKING_ROOM_BYTES = 256;
/** So much is written at a time. */
const WRITTEN_BYTES = 1024 * 1024;
/** Frames that are packed and not written yet: their memory is kept, however small what became of them is. */
const UNWRITTEN_FRAMES = 16;
/** Pages taken before others have the thread. */
const PAGES_PER_TURN = 256;

/** What a snapshot builds on. */
export interface ParentPages {
  readonly index: PageIndex;
  /** Whether pages that the machine has not loaded yet come from that snapshot. */
  readonly isSource: boolean;
}

export interface WrittenPages {
  readonly index: PageIndex;
  /** The snapshot's own pack. */
  readonly pack: { readonly bytes: number; readonly sha256: string };
  readonly statistics: { readonly taken: number; readonly own: number };
}

export class PageWriter {
  readonly #source: GuestPages;
  readonly #sink: SnapshotSink;
  readonly #codec: SnapshotCodec;
  readonly #parent: ParentPages | undefined;
  readonly #frames: PageFrame[] = [];
  /** Places of what is stored already, by digest. */
  readonly #known = new Map<string, number>();
  /** Frame here, by frame of the parent. */
  readonly #adopted = new Map<number, number>();
  readonly #pages: number[] = [];
  /** Of each page its place: a packed one, or where in the frame that is being filled. */
  readonly #places: number[] = [];
  readonly #digests: string[] = [];
  #filling = newFrame();
  /** Memory of frames that were written, to be filled again: new memory would be collected piece by piece, while the guest waits for its thread. */
  readonly #spare: Uint8Array<SharedArrayBuffer>[] = [];
  #filled = 0;
  #fillingFrame = -1;
  /** Frames that are to be written, and their bytes. */
  #unwritten: { readonly bytes: Uint8Array; readonly memory: Uint8Array<SharedArrayBuffer> }[] = [];
  #unwrittenBytes = 0;
  #packBytes = 0;
  #own = 0;
  /** What is under way, one after another as far as the pack goes. */
  #underWay: Promise<void>[] = [];
  #written: Promise<void> = Promise.resolve();

  constructor(source: GuestPages, sink: SnapshotSink, codec: SnapshotCodec, parent: ParentPages | undefined) {
    this.#source = source;
    this.#sink = sink;
    this.#codec = codec;
    this.#parent = parent;
  }

  /** Takes every page that was protected. */
  async write(): Promise<WrittenPages> {
    const { index: parent, isSource = false } = this.#parent ?? {};
    if (parent !== undefined)
      for (let n = 0; n < parent.pages.length; n++)
        if (!this.#known.has(pageDigest(parent, n))) this.#known.set(pageDigest(parent, n), -1 - n);
    const placeInParent = parent && placesByPage(parent);
    const scratch = new Uint8Array(PAGE_SIZE);
    const store = (index: number, page: Uint8Array): void => this.#store(index, page);
    let taken = 0;
    for (let index = 0, inTurn = 0; index < this.#source.count;) {
      if (this.#source.at(index) === 'elsewhere') {
        const n = isSource ? placeInParent?.get(index) : undefined;
        if (parent && n !== undefined) this.#add(index, this.#adopt(parent, n), pageDigest(parent, n));
        else if (!isSource) {
          this.#source.read(index, scratch);
          if (holdsSomething(scratch)) this.#store(index, scratch);
        }
        index++;
        taken++;
        inTurn++;
      } else {
        const run = this.#source.takeRun(index, PAGES_PER_TURN - inTurn, store);
        index = run.next;
        taken += run.taken;
        inTurn += run.taken;
      }
      if (inTurn >= PAGES_PER_TURN) {
        inTurn = 0;
        await this.#codec.turn();
      }
      while (this.#underWay.length > FRAMES_UNDER_WAY) await this.#underWay.shift();
    }
    this.#finishFrame();
    await Promise.all(this.#underWay);
    await this.#written;
    await this.#append();
    const own = this.#frames.filter(({ pack }) => pack === 0);
    return {
      index: {
        guestPages: this.#source.count,
        packs: 1 + (parent?.packs ?? 0),
        frames: this.#frames,
        pages: Uint32Array.from(this.#pages),
        places: Uint32Array.from(this.#places),
        digests: joined(this.#digests),
      },
      pack: { bytes: this.#packBytes, sha256: this.#codec.digest(joinedDigests(own)) },
      statistics: { taken, own: this.#own },
    };
  }

  #add(index: number, place: number, digest: string): void {
    this.#pages.push(index);
    this.#places.push(place);
    this.#digests.push(digest);
  }

  #store(index: number, page: Uint8Array): void {
    const digest = this.#codec.digestBytes(page).slice(0, PAGE_DIGEST_BYTES);
    const known = this.#known.get(digest);
    const parent = this.#parent?.index;
    // Below 0 it is the parent's, of which the frame is taken over when it is needed.
    const place = known === undefined ? this.#put(page) : known < 0 && parent ? this.#adopt(parent, -1 - known) : known;
    this.#known.set(digest, place);
    this.#add(index, place, digest);
    if (this.#filled === FRAME_PAGES) this.#finishFrame();
  }

  /** Lays a page into the frame that is being filled. */
  #put(page: Uint8Array): number {
    // The frame's entry follows when it is compressed; its number is taken now.
    if (this.#filled === 0) this.#fillingFrame = this.#frames.push(NOT_YET) - 1;
    this.#filling.set(page, this.#filled * PAGE_SIZE);
    this.#own++;
    return packPlace({ frame: this.#fillingFrame, place: this.#filled++ });
  }

  #finishFrame(): void {
    if (this.#filled === 0) return;
    const [number, pages, plain] = [this.#fillingFrame, this.#filled, this.#filling];
    this.#filling = this.#spare.pop() ?? newFrame();
    this.#filled = 0;
    const packed = this.#codec.pack(plain.subarray(0, pages * PAGE_SIZE));
    const before = this.#written;
    const done = (async () => {
      const { bytes, digest } = await packed;
      await before;
      this.#frames[number] = {
        pack: 0,
        offsetBytes: this.#packBytes,
        bytes: bytes.length,
        pages,
        digest,
      };
      this.#packBytes += bytes.length;
      this.#unwritten.push({ bytes, memory: plain });
      this.#unwrittenBytes += bytes.length;
      if (this.#unwrittenBytes >= WRITTEN_BYTES || this.#unwritten.length >= UNWRITTEN_FRAMES) await this.#append();
    })();
    // Whoever takes pages hears of it when it waits.
    done.catch(() => undefined);
    this.#written = done;
    this.#underWay.push(done);
  }

  async #append(): Promise<void> {
    const parts = this.#unwritten;
    [this.#unwritten, this.#unwrittenBytes] = [[], 0];
    if (parts.length === 0) return;
    await this.#sink.append(PAGES_FILE, ...parts.map(({ bytes }) => bytes));
    for (const { memory } of parts) this.#spare.push(memory);
  }

  /** The place of the parent's stored page `n`, here. */
  #adopt(parent: PageIndex, n: number): number {
    const { frame, place }: PagePlace = placeOf(parent.places[n] ?? 0);
    let here = this.#adopted.get(frame);
    if (here === undefined) {
      const theirs = parent.frames[frame];
      assert(theirs !== undefined, 'a page of the parent has a frame');
      here = this.#frames.push({ ...theirs, pack: theirs.pack + 1 }) - 1;
      this.#adopted.set(frame, here);
    }
    return packPlace({ frame: here, place });
  }
}

/** Memory that a thread can be shown, with room for what cannot be packed. */
function newFrame(): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(
    new SharedArrayBuffer(FRAME_PAGES * PAGE_SIZE + PACKING_ROOM_BYTES),
    0,
    FRAME_PAGES * PAGE_SIZE,
  );
}

const NOT_YET: PageFrame = { pack: 0, offsetBytes: 0, bytes: 0, pages: 0, digest: '' };

function joined(digests: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(digests.length * PAGE_DIGEST_BYTES);
  for (const [n, digest] of digests.entries())
    for (let at = 0; at < PAGE_DIGEST_BYTES; at++) bytes[n * PAGE_DIGEST_BYTES + at] = digest.charCodeAt(at);
  return bytes;
}

/** Position of each stored page, by its number in the guest. */
function placesByPage(index: PageIndex): ReadonlyMap<number, number> {
  return new Map(Array.from(index.pages, (page, n) => [page, n]));
}
