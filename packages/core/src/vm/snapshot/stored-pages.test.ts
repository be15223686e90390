/** Pages of a snapshot as they are asked for. */

import { expect, test } from 'vitest';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { PAGE_DIGEST_BYTES, type PageIndex, packPlace } from './page-index.ts';
import { StoredPages } from './stored-pages.ts';
import { testCodec } from './testing/memory-snapshots.ts';

const codec = testCodec();

/** Pages 1 and 3 of a guest of four, in one frame; the digests are those of `pages`, whatever the frame holds. */
async function stored(
  pages: readonly Uint8Array[],
  written: readonly Uint8Array[],
): Promise<{ index: PageIndex; read: (pack: number, offsetBytes: number, into: Uint8Array) => void }> {
  const { bytes, checksum } = await codec.pack(Buffer.concat(written));
  const digests = pages.map((page) => Buffer.from(codec.digestBytes(page), 'latin1').subarray(0, PAGE_DIGEST_BYTES));
  const index = {
    guestPages: 4,
    packs: 1,
    frames: [{ pack: 0, offsetBytes: 0, bytes: bytes.length, pages: 2, sum: checksum }],
    pages: Uint32Array.of(1, 3),
    places: Uint32Array.of(packPlace({ frame: 0, place: 0 }), packPlace({ frame: 0, place: 1 })),
    digests: Uint8Array.from(Buffer.concat(digests)),
  };
  return {
    index,
    read: (_pack, offsetBytes, into) => into.set(bytes.subarray(offsetBytes, offsetBytes + into.length)),
  };
}

test('a page that is stored is what was written, and one that is not is left as it is', async () => {
  const pages = [Buffer.alloc(PAGE_SIZE, 'one'), Buffer.alloc(PAGE_SIZE, 'three')];
  const { index, read } = await stored(pages, pages);
  const source = new StoredPages(index, read, codec);
  const into = new Uint8Array(PAGE_SIZE).fill(7);
  source.load(2, into);
  expect(into.every((byte) => byte === 7)).toBe(true);
  source.load(3, into);
  expect(Buffer.compare(into, pages[1] ?? into)).toBe(0);
});

test('a page that is another one than its digest says is refused, although its frame is whole', async () => {
  const [one, three] = [Buffer.alloc(PAGE_SIZE, 'one'), Buffer.alloc(PAGE_SIZE, 'three')];
  const other = Buffer.from(three);
  other[100] = 0;
  const { index, read } = await stored([one, three], [one, other]);
  const source = new StoredPages(index, read, codec);
  const into = new Uint8Array(PAGE_SIZE);
  source.load(1, into);
  expect(Buffer.compare(into, one)).toBe(0);
  expect(() => source.load(3, into)).toThrow('not what was written');
});
