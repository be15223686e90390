/**
 * Writes the pages of a snapshot while the machine runs on: those that hold something, each content once, and only what no parent has.
 *
 *     take a page ──> all zero? nothing ──> known by its digest? its place ──> a frame of FRAME_PAGES ──zstd──> the pack
 */

import { assert } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type GuestPages, holdsSomething } from '../../machine/guest-pages.ts';
import { DIGEST_WORDS, DigestTable } from './digest-table.ts';
import { PAGES_FILE } from './manifest.ts';
import {
  FRAME_PAGES,
  type PageFrame,
  type PageIndex,
  type PagePlace,
  joinedSums,
  packPlace,
  placeOf,
} from './page-index.ts';
import type { SnapshotCodec, SnapshotSink } from './ports.ts';

/** Frames that are being compressed or written while more pages are taken. */
const FRAMES_UNDER_WAY = 8;
/** A frame of zstd that packs nothing has 3 bytes more for each 128 KiB, and a head of 18 at most. */
const PACKING_ROOM_BYTES = 256;
/** So much is written at a time. */
const WRITTEN_BYTES = 1024 * 1024;
/** Memory for so many frames is one piece: a thread is shown each piece once. */
const FRAMES_TOGETHER = 8;
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
  /** Places of what is stored already; below 0 it is the parent's, of which the frame is taken over when it is needed. */
  readonly #known: DigestTable;
  /** Frame here, by frame of the parent. */
  readonly #adopted = new Map<number, number>();
  readonly #pages: number[] = [];
  /** Of each page its place: a packed one, or where in the frame that is being filled. */
  readonly #places: number[] = [];
  /** Of each page DIGEST_WORDS words. */
  readonly #digests: Uint32Array;
  readonly #memory = new FrameMemory();
  #filling = this.#memory.take();
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

  /** `id` is of the snapshot, which nobody can guess. */
  constructor(
    source: GuestPages,
    sink: SnapshotSink,
    codec: SnapshotCodec,
    parent: ParentPages | undefined,
    id: string,
  ) {
    this.#source = source;
    this.#known = new DigestTable(id);
    this.#digests = new Uint32Array(source.count * DIGEST_WORDS);
    this.#sink = sink;
    this.#codec = codec;
    this.#parent = parent;
  }

  /** Takes every page that was protected. */
  async write(): Promise<WrittenPages> {
    const { index: parent, isSource = false } = this.#parent ?? {};
    const theirs = parent && new Uint32Array(parent.digests.slice().buffer);
    for (let n = 0; theirs !== undefined && n * DIGEST_WORDS < theirs.length; n++)
      if (this.#known.get(theirs, n * DIGEST_WORDS) === undefined) this.#known.set(theirs, n * DIGEST_WORDS, -1 - n);
    const placeInParent = parent && placesByPage(parent);
    const scratch = new Uint8Array(PAGE_SIZE);
    const store = (index: number, page: Uint8Array): void => this.#store(index, page);
    let taken = 0;
    for (let index = 0, inTurn = 0; index < this.#source.count;) {
      if (this.#source.at(index) === 'elsewhere') {
        const n = isSource ? placeInParent?.get(index) : undefined;
        if (parent && theirs && n !== undefined) {
          this.#digests.set(theirs.subarray(n * DIGEST_WORDS, (n + 1) * DIGEST_WORDS), this.#nextDigest);
          this.#add(index, this.#adopt(parent, n));
        } else if (!isSource) {
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
        digests: new Uint8Array(this.#digests.buffer, 0, this.#nextDigest * Uint32Array.BYTES_PER_ELEMENT),
      },
      pack: { bytes: this.#packBytes, sha256: this.#codec.digest(joinedSums(own)) },
      statistics: { taken, own: this.#own },
    };
  }

  /** Where the words of the next page's digest are. */
  get #nextDigest(): number {
    return this.#pages.length * DIGEST_WORDS;
  }

  /** A page whose digest is there. */
  #add(index: number, place: number): void {
    this.#pages.push(index);
    this.#places.push(place);
  }

  #store(index: number, page: Uint8Array): void {
    const [digests, at] = [this.#digests, this.#nextDigest];
    putDigest(this.#codec.digestBytes(page), digests, at);
    const known = this.#known.get(digests, at);
    const parent = this.#parent?.index;
    const place = known === undefined ? this.#put(page) : known < 0 && parent ? this.#adopt(parent, -1 - known) : known;
    if (place !== known) this.#known.set(digests, at, place);
    this.#add(index, place);
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
    this.#filling = this.#spare.pop() ?? this.#memory.take();
    this.#filled = 0;
    const packed = this.#codec.pack(plain.subarray(0, pages * PAGE_SIZE));
    const before = this.#written;
    const done = (async () => {
      const { bytes, checksum } = await packed;
      await before;
      this.#frames[number] = {
        pack: 0,
        offsetBytes: this.#packBytes,
        bytes: bytes.length,
        pages,
        sum: checksum,
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

/** Memory that threads can be shown, for frames, with room for what cannot be packed. */
class FrameMemory {
  #block = new SharedArrayBuffer(0);
  #used = 0;

  take(): Uint8Array<SharedArrayBuffer> {
    const bytes = FRAME_PAGES * PAGE_SIZE;
    if (this.#used === this.#block.byteLength) {
      this.#block = new SharedArrayBuffer(FRAMES_TOGETHER * (bytes + PACKING_ROOM_BYTES));
      this.#used = 0;
    }
    const frame = new Uint8Array(this.#block, this.#used, bytes);
    this.#used += bytes + PACKING_ROOM_BYTES;
    return frame;
  }
}

const NOT_YET: PageFrame = { pack: 0, offsetBytes: 0, bytes: 0, pages: 0, sum: 0 };

/** The first words of a digest that is given as a character for each byte. */
function putDigest(digest: string, words: Uint32Array, at: number): void {
  for (let n = 0; n < DIGEST_WORDS; n++)
    words[at + n] =
      digest.charCodeAt(4 * n) |
      (digest.charCodeAt(4 * n + 1) << 8) |
      (digest.charCodeAt(4 * n + 2) << 16) |
      (digest.charCodeAt(4 * n + 3) << 24);
}

/** Position of each stored page, by its number in the guest. */
function placesByPage(index: PageIndex): ReadonlyMap<number, number> {
  return new Map(Array.from(index.pages, (page, n) => [page, n]));
}
