/**
 * The pages of a snapshot as a page source: read, checked and unpacked when they are asked for. Frames unpacked lately stay, because pages that
 * are near one another are asked for one after another; others stay until memory is collected, because a machine that goes on asks for pages of half of
 * all frames, each several times, and soon for none any more.
 */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { PageSource } from '../../base/page-source.ts';
import { PAGE_DIGEST_BYTES, type PageIndex, placeOf } from './page-index.ts';
import type { SnapshotCodec } from './ports.ts';
import { SnapshotError } from './snapshot-error.ts';

/** Unpacked frames that stay in any case: 4 MiB. */
const FRAMES_KEPT = 16;

type StoredPagesCodec = Pick<SnapshotCodec, 'digestBytes' | 'decompress'>;

/** Fills all of `into` from pack `pack`; throws when it cannot. */
export type ReadPack = (pack: number, offsetBytes: number, into: Uint8Array) => void;

export class StoredPages implements PageSource {
  readonly shared: unknown;
  readonly #index: PageIndex;
  readonly #read: ReadPack;
  readonly #codec: StoredPagesCodec;
  /** Of each page of the guest where the index has it and 1, or 0. */
  readonly #entries: Uint32Array;
  /** By number, the one used last at the end. */
  readonly #frames = new Map<number, Uint8Array>();
  /** All that are still in memory. */
  readonly #unpacked: WeakRef<Uint8Array>[] = [];
  /** Pages that guests have touched, in that order; one twice that two forks have. */
  readonly loaded: number[] = [];

  /** `shared` is what another thread makes the same of. */
  constructor(index: PageIndex, read: ReadPack, codec: StoredPagesCodec, shared?: unknown) {
    this.#index = index;
    this.#read = read;
    this.#codec = codec;
    this.shared = shared;
    this.#entries = new Uint32Array(index.guestPages);
    const { pages } = index;
    for (let n = 0; n < pages.length; n++) this.#entries[pages[n] ?? 0] = n + 1;
  }

  load(index: number, into: Uint8Array): void {
    const entry = (this.#entries[index] ?? 0) - 1;
    if (entry < 0) return;
    const { frame, place } = placeOf(this.#index.places[entry] ?? 0);
    const page = this.#frame(frame).subarray(place * PAGE_SIZE, (place + 1) * PAGE_SIZE);
    if (!this.#isAsWritten(page, entry)) throw new SnapshotError('broken', 'its pages are not what was written');
    into.set(page);
  }

  touched(index: number): void {
    this.loaded.push(index);
  }

  #isAsWritten(page: Uint8Array, entry: number): boolean {
    const digest = this.#codec.digestBytes(page);
    const { digests } = this.#index;
    for (let n = 0; n < PAGE_DIGEST_BYTES; n++)
      if (digest.charCodeAt(n) !== digests[entry * PAGE_DIGEST_BYTES + n]) return false;
    return true;
  }

  #frame(number: number): Uint8Array {
    const known = this.#frames.get(number);
    if (known !== undefined) {
      if (this.#frames.size > 1) {
        this.#frames.delete(number);
        this.#frames.set(number, known);
      }
      return known;
    }
    let plain = this.#unpacked[number]?.deref();
    if (plain === undefined) {
      plain = unpackFrame(this.#index, number, this.#read, this.#codec);
      this.#unpacked[number] = new WeakRef(plain);
    }
    this.#frames.set(number, plain);
    const [oldest] = this.#frames.keys();
    if (this.#frames.size > FRAMES_KEPT && oldest !== undefined) this.#frames.delete(oldest);
    return plain;
  }
}

/** What a frame holds; throws a SnapshotError when it is none. */
function unpackFrame({ frames }: PageIndex, number: number, read: ReadPack, codec: StoredPagesCodec): Uint8Array {
  const frame = frames[number];
  if (frame === undefined) throw new SnapshotError('broken', `it has no frame ${number}`);
  const packed = new Uint8Array(frame.bytes);
  try {
    read(frame.pack, frame.offsetBytes, packed);
  } catch (error) {
    throw new SnapshotError('broken', 'its pages cannot be read', error);
  }
  const bytes = frame.pages * PAGE_SIZE;
  let plain: Uint8Array;
  try {
    plain = codec.decompress(packed, bytes);
  } catch (error) {
    throw new SnapshotError('broken', 'its pages are not what was written', error);
  }
  if (plain.length !== bytes) throw new SnapshotError('broken', 'its pages have another size');
  return plain;
}
