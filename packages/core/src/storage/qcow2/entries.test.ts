import * as fc from 'fast-check';
import { zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { viewOf } from './big-endian.ts';
import { Geometry } from './geometry.ts';
import { UNALLOCATED, decodeL2Entry, encodeL2Entry } from './l2-entry.ts';
import type { L2Entry } from './l2-entry.ts';
import { getRefcount, setRefcount } from './refcount-entry.ts';
import { zstdFrameBytes } from './zstd-frame.ts';

const plain = new Geometry({ clusterBits: 16, hasExtendedL2: false, refcountOrder: 4 });
const extended = new Geometry({ clusterBits: 16, hasExtendedL2: true, refcountOrder: 4 });

function decode(words: readonly number[], geometry: Geometry, version: 2 | 3 = 3): L2Entry | string {
  const view = viewOf(new Uint8Array(16));
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word);
  return decodeL2Entry(view, 0, geometry, version);
}

test('reference counts of every width lie side by side', () => {
  for (let order = 0; order <= 6; order++) {
    const block = new Uint8Array(512);
    const most = order === 6 ? 2 ** 53 - 1 : 2 ** (2 ** order) - 1;
    const entries = 4096 / 2 ** order;
    for (let index = 0; index < entries; index++) setRefcount(block, index, index % (most + 1), order);
    const seen = Array.from({ length: entries }, (_, index) => getRefcount(block, index, order));
    expect(seen).toEqual(Array.from({ length: entries }, (_, index) => index % (most + 1)));
    setRefcount(block, 3, most, order);
    expect([2, 3, 4].map((index) => getRefcount(block, index, order))).toEqual([2 % (most + 1), most, 4 % (most + 1)]);
  }
  expect(getRefcount(new Uint8Array(8).fill(255), 0, 6)).toBe(Infinity);
});

test('the least significant bits of a byte count the lower cluster', () => {
  const block = new Uint8Array(1);
  setRefcount(block, 1, 1, 0);
  expect([...block]).toEqual([2]);
  setRefcount(block, 1, 0, 0);
  setRefcount(block, 1, 3, 1);
  expect([...block]).toEqual([12]);
});

test('an L2 entry is what was put in', () => {
  const entry = fc.record({
    cluster: fc.integer({ min: 0, max: 2 ** 36 }),
    copied: fc.boolean(),
    zeroes: fc.nat(0xffff_ffff),
    allocated: fc.nat(0xffff_ffff),
  });
  fc.assert(
    fc.property(entry, fc.boolean(), ({ cluster, copied, zeroes, allocated }, isExtended) => {
      const geometry = isExtended ? extended : plain;
      const host = cluster * 65_536;
      const own: L2Entry = isExtended
        ? {
            host,
            copied: copied && host > 0,
            zeroes,
            allocated: host === 0 ? 0 : (allocated & ~zeroes) >>> 0,
            compressed: undefined,
          }
        : {
            host,
            copied: copied && host > 0,
            zeroes: zeroes & 1,
            allocated: host > 0 && (zeroes & 1) === 0 ? 1 : 0,
            compressed: undefined,
          };
      const view = viewOf(new Uint8Array(16));
      encodeL2Entry(view, 0, own, geometry);
      expect(decodeL2Entry(view, 0, geometry, 3)).toEqual(own);
    }),
  );
});

test('compressed entries have an offset to the byte and a length in sectors', () => {
  for (const clusterBits of [9, 12, 16, 21]) {
    const geometry = new Geometry({ clusterBits, hasExtendedL2: false, refcountOrder: 4 });
    const shift = BigInt(62 - (clusterBits - 8));
    const word = (1n << 62n) | (1n << shift) | 0x12_3456_7801n;
    const found = decode([Number(word >> 32n), Number(word & 0xffff_ffffn)], geometry);
    expect(found).toEqual({ ...UNALLOCATED, compressed: { offset: 0x12_3456_7801, bytes: 1024 - 1 } });
  }
});

test.each([
  ['has reserved bits set', [0x0100_0000, 0x1_0000], plain],
  ['has reserved bits set', [0, 0x1_0002], plain],
  ['points to no cluster', [0, 0x8000], plain],
  ['points to no cluster', [0x0020_0000, 0], plain],
  ['is marked as zero in an image that has no such mark', [0, 0x1_0001, 0, 0], extended],
  ['is marked as in use and points nowhere', [0x8000_0000, 0], plain],
  ['has subclusters that are both allocated and zero', [0, 0x1_0000, 1, 1], extended],
  ['has subclusters without a cluster', [0, 0, 0, 1], extended],
  ['points to compressed data where none can be', [0x4000_0000, 0], plain],
] as const)('an entry that %s is told', (problem, words, geometry) => {
  expect(decode(words, geometry)).toBe(problem);
});

test('version 2 has no mark for zeroes', () => {
  expect(decode([0, 1], plain, 2)).toBe('is marked as zero in an image that has no such mark');
});

test('a zstd frame ends where it ends, whatever is behind', () => {
  for (const content of [
    Buffer.alloc(0),
    Buffer.alloc(200_000),
    Buffer.from('abc'.repeat(5000)),
    Buffer.from([1, 2, 3]),
  ]) {
    const frame = zstdCompressSync(content);
    expect(zstdFrameBytes(Buffer.concat([frame, Buffer.alloc(700, 0xee)]))).toBe(frame.length);
    expect(zstdFrameBytes(frame.subarray(0, frame.length - 1))).toBe(frame.length - 1);
  }
  expect(zstdFrameBytes(Uint8Array.of(1, 2, 3, 4, 5))).toBe(5);
});
