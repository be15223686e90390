/**
 * The index of a snapshot's memory: where each page is that is not all zero. Pages lie in frames of zstd, some dozen together, and frames in
 * packs: the snapshot's own, and those of the snapshots that it builds on. Little-endian:
 *
 *     "RFpages2"   u32 pages of the guest   u32 packs   u32 frames   u32 pages stored
 *     frames:      u32 x 2 offset in the pack (low, high)   u32 bytes   u16 pack   u16 pages   u32 CRC-32 of the zstd frame, in the own pack
 *     pages:       u32 number in the guest, ascending; then u32 frame << 8 | place in the frame; then 16 bytes SHA-256 (its first half)
 *
 * A page is known by its content: two that hold the same are stored once, and one that a parent has is not stored again. Its digest says what comes of a frame;
 * the frame's own sum tells sooner, and of all frames at once, whether it was broken. "RFpages1", of earlier versions, has 32 bytes SHA-256 there.
 */

import { assert, defined } from '../../base/assert.ts';
import { SnapshotError } from './snapshot-error.ts';

/** Pages that one zstd frame holds at most. */
export const FRAME_PAGES = 64;
/** Snapshots that one may build on, itself included. */
export const MAXIMUM_PACKS = 256;
/** Bytes of a page's digest that are kept. */
export const PAGE_DIGEST_BYTES = 16;

const MAGIC = 'RFpages2';
/** Bytes of a frame's sum, by how an index begins. */
const SUM_BYTES: Readonly<Record<string, number>> = { [MAGIC]: 4, RFpages1: 32 };
const HEADER_BYTES = 24;
const FRAME_BYTES = 16;
const PAGE_BYTES = 4 + 4 + PAGE_DIGEST_BYTES;
const PLACE_BITS = 8;
const PLACE_MASK = (1 << PLACE_BITS) - 1;

/** Where some pages lie. */
export interface PageFrame {
  readonly pack: number;
  readonly offsetBytes: number;
  readonly bytes: number;
  readonly pages: number;
  /** Of the zstd frame: its CRC-32, or, where another version wrote it, its SHA-256 in hexadecimal. */
  readonly sum: number | string;
}

export interface PageIndex {
  /** Of the guest, those of zeroes included. */
  readonly guestPages: number;
  readonly packs: number;
  readonly frames: readonly PageFrame[];
  /** Numbers of the pages that are stored, ascending. */
  readonly pages: Uint32Array;
  /** Of each, its frame and its place there; see `placeOf`. */
  readonly places: Uint32Array;
  /** Of each, PAGE_DIGEST_BYTES. */
  readonly digests: Uint8Array;
}

export interface PagePlace {
  readonly frame: number;
  readonly place: number;
}

export function packPlace({ frame, place }: PagePlace): number {
  return ((frame << PLACE_BITS) | place) >>> 0;
}

export function placeOf(packed: number): PagePlace {
  return { frame: packed >>> PLACE_BITS, place: packed & PLACE_MASK };
}

export function writePageIndex(index: PageIndex): Uint8Array {
  const { frames, pages, places, digests } = index;
  const bytes = new Uint8Array(HEADER_BYTES + frames.length * (FRAME_BYTES + 4) + pages.length * PAGE_BYTES);
  const fields = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(MAGIC));
  for (const [n, value] of [index.guestPages, index.packs, frames.length, pages.length].entries())
    fields.setUint32(MAGIC.length + 4 * n, value, true);
  let at = HEADER_BYTES;
  for (const frame of frames) {
    fields.setUint32(at, frame.offsetBytes % 2 ** 32, true);
    fields.setUint32(at + 4, Math.floor(frame.offsetBytes / 2 ** 32), true);
    fields.setUint32(at + 8, frame.bytes, true);
    fields.setUint16(at + 12, frame.pack, true);
    fields.setUint16(at + 14, frame.pages, true);
    // Of a frame in another pack its own index says it.
    if (typeof frame.sum === 'number') fields.setUint32(at + FRAME_BYTES, frame.sum, true);
    at += FRAME_BYTES + 4;
  }
  for (const list of [pages, places]) {
    // Words as they lie there: who runs WebAssembly has them in this order, too.
    bytes.set(new Uint8Array(list.buffer, list.byteOffset, list.byteLength), at);
    at += list.byteLength;
  }
  bytes.set(digests, at);
  assert(at + digests.length === bytes.length, 'every page has its digest');
  return bytes;
}

/** Reads an index of a guest with so many pages, whose packs have so many bytes; throws a SnapshotError where something cannot be. */
export function readPageIndex(bytes: Uint8Array, guestPages: number, packBytes: readonly number[]): PageIndex {
  const fields = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sumBytes = sumBytesOf(bytes);
  if (sumBytes === undefined) throw broken('does not begin as one');
  const [ofGuest = 0, packs = 0, frameCount = 0, pageCount = 0] = [0, 1, 2, 3].map((n) =>
    fields.getUint32(MAGIC.length + 4 * n, true),
  );
  if (ofGuest !== guestPages || packs !== packBytes.length) throw broken('is of another memory');
  const start = HEADER_BYTES + frameCount * (FRAME_BYTES + sumBytes);
  if (bytes.length !== start + pageCount * PAGE_BYTES) throw broken('has another size');
  const frames = Array.from({ length: frameCount }, (_, n) =>
    readFrame(fields, HEADER_BYTES + n * (FRAME_BYTES + sumBytes), sumBytes, packBytes),
  );
  const pages = words(bytes, start, pageCount);
  const places = words(bytes, start + 4 * pageCount, pageCount);
  let last = -1;
  // A plain loop: there is one round for each page of the guest, and somebody waits for it.
  for (let n = 0; n < pageCount; n++) {
    const [page, packed] = [pages[n] ?? 0, places[n] ?? 0];
    if (page <= last || page >= guestPages) throw broken('has a page where none can be');
    if ((packed & PLACE_MASK) >= (frames[packed >>> PLACE_BITS]?.pages ?? 0))
      throw broken('leads to a page that is not there');
    last = page;
  }
  return { guestPages, packs, frames, pages, places, digests: bytes.subarray(start + 8 * pageCount) };
}

function readFrame(fields: DataView, at: number, sumBytes: number, packBytes: readonly number[]): PageFrame {
  const frame = {
    offsetBytes: fields.getUint32(at, true) + fields.getUint32(at + 4, true) * 2 ** 32,
    bytes: fields.getUint32(at + 8, true),
    pack: fields.getUint16(at + 12, true),
    pages: fields.getUint16(at + 14, true),
    sum:
      sumBytes === 4
        ? fields.getUint32(at + FRAME_BYTES, true)
        : hex(new Uint8Array(fields.buffer, fields.byteOffset + at + FRAME_BYTES, sumBytes)),
  };
  if (frame.pages < 1 || frame.pages > FRAME_PAGES || frame.bytes < 1) throw broken('has a frame that cannot be');
  if (frame.offsetBytes + frame.bytes > (packBytes[frame.pack] ?? -1)) throw broken('leads out of a file of pages');
  return frame;
}

/** Words as they lie there: who runs WebAssembly has them in this order, too. */
function words(bytes: Uint8Array, start: number, count: number): Uint32Array {
  return new Uint32Array(bytes.slice(start, start + 4 * count).buffer);
}

/** What the digest of a pack is of: the sums of its frames. */
export function joinedSums(frames: readonly PageFrame[]): Uint8Array {
  const parts = frames.map(({ sum }) => (typeof sum === 'string' ? fromHex(sum) : littleEndian(sum)));
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Undefined where nothing begins like an index. */
function sumBytesOf(index: Uint8Array): number | undefined {
  const magic = new TextDecoder().decode(index.subarray(0, MAGIC.length));
  return index.length < HEADER_BYTES || !Object.hasOwn(SUM_BYTES, magic) ? undefined : SUM_BYTES[magic];
}

function littleEndian(word: number): Uint8Array {
  return Uint8Array.of(word, word >>> 8, word >>> 16, word >>> 24);
}

/** The frames of the snapshot's own pack alone, as they follow one another there; throws a SnapshotError where that cannot be. */
export function ownFrames(index: Uint8Array, packBytes: number): PageFrame[] {
  const fields = new DataView(index.buffer, index.byteOffset, index.byteLength);
  const sumBytes = sumBytesOf(index);
  if (sumBytes === undefined) throw broken('does not begin as one');
  const count = fields.getUint32(MAGIC.length + 8, true);
  if (index.length < HEADER_BYTES + count * (FRAME_BYTES + sumBytes)) throw broken('has another size');
  const own: PageFrame[] = [];
  let end = 0;
  for (let n = 0; n < count; n++) {
    const at = HEADER_BYTES + n * (FRAME_BYTES + sumBytes);
    if (fields.getUint16(at + 12, true) !== 0) continue;
    const frame = readFrame(fields, at, sumBytes, [packBytes]);
    if (frame.offsetBytes !== end) throw broken('has frames that do not follow one another');
    end += frame.bytes;
    own.push(frame);
  }
  if (end !== packBytes) throw broken('is not of all its pages');
  return own;
}

const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += defined(DIGITS[byte], 'a byte');
  return text;
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length / 2 }, (_, n) => Number.parseInt(text.slice(2 * n, 2 * n + 2), 16));
}

function broken(how: string): SnapshotError {
  return new SnapshotError('broken', `its index of pages ${how}`);
}
