import { describe, expect, test } from 'vitest';
import { BlockStoreError } from '../../base/block-store-error.ts';
import { MemoryImageFile } from '../memory-image-file.ts';
import { viewOf } from './big-endian.ts';
import { createQcow2 } from './create-qcow2.ts';
import type { NewQcow2 } from './create-qcow2.ts';
import { EXTENSION, FIELD, readHeader } from './header.ts';

async function image(options: Partial<NewQcow2> = {}): Promise<Uint8Array> {
  const file = new MemoryImageFile('d.qcow2');
  await createQcow2(file, { sizeBytes: 1 << 20, clusterBytes: 4096, ...options });
  return file.content.slice();
}

test('a new header reads as it was asked for', async () => {
  const backing = { name: 'base images/Grund.img', format: 'raw' } as const;
  const bytes = await image({ clusterBytes: 65_536, backing, refcountBits: 8, subclusters: true, compression: 'zstd' });
  expect(readHeader(bytes, 'd')).toEqual({
    version: 3,
    headerBytes: 112,
    clusterBits: 16,
    sizeBytes: 1 << 20,
    backing,
    l1Entries: 1,
    l1Offset: 3 * 65_536,
    refcountTableOffset: 65_536,
    refcountTableClusters: 1,
    refcountOrder: 3,
    compression: 'zstd',
    isDirty: false,
    isCorrupt: false,
    hasExtendedL2: true,
    hasAutoclear: false,
  });
});

test('the length of a disk is rounded up to sectors', async () => {
  expect(readHeader(await image({ sizeBytes: 1025 }), 'd').sizeBytes).toBe(1536);
});

test('a version 2 header has none of the later fields', async () => {
  const bytes = await image({ refcountBits: 16 });
  const view = viewOf(bytes);
  view.setUint32(4, 2);
  // What were fields are extensions there.
  bytes.fill(0, 72, 112);
  expect(readHeader(bytes, 'd')).toMatchObject({ version: 2, headerBytes: 72, refcountOrder: 4, isDirty: false });
});

test('bits for people to know are found', async () => {
  const bytes = await image();
  viewOf(bytes).setUint32(FIELD.incompatible + 4, 3);
  viewOf(bytes).setUint32(FIELD.autoclear, 0x8000_0000);
  expect(readHeader(bytes, 'd')).toMatchObject({ isDirty: true, isCorrupt: true, hasAutoclear: true });
});

test('extensions that are not known are passed over', async () => {
  const bytes = await image();
  const view = viewOf(bytes);
  view.setUint32(112, 0x1234_5678);
  view.setUint32(116, 5);
  view.setUint32(128, EXTENSION.BACKING_FORMAT);
  view.setUint32(132, 3);
  bytes.set(new TextEncoder().encode('raw'), 136);
  bytes.set(new TextEncoder().encode('b.img'), 200);
  view.setUint32(FIELD.backingOffset + 4, 200);
  view.setUint32(FIELD.backingBytes, 5);
  expect(readHeader(bytes, 'd').backing).toEqual({ name: 'b.img', format: 'raw' });
});

describe('a header that cannot be gets a sentence:', () => {
  const set32 = (at: number, value: number) => (bytes: Uint8Array) => viewOf(bytes).setUint32(at, value);
  const backed =
    (offset: number, length: number, text = 'x') =>
    (bytes: Uint8Array) => {
      viewOf(bytes).setUint32(FIELD.backingOffset + 4, offset);
      viewOf(bytes).setUint32(FIELD.backingBytes, length);
      bytes.set(new TextEncoder().encode(text).subarray(0, Math.max(0, bytes.length - offset)), offset);
    };
  test.each<[string, (bytes: Uint8Array) => void]>([
    ['is no qcow2 image', set32(0, 0x5146_49fa)],
    ['is a qcow2 image of version 4; 2 and 3 are known', set32(4, 4)],
    ['is a qcow2 image of version 1; 2 and 3 are known', set32(4, 1)],
    ['says its clusters have 2^8 bytes; 2^9 to 2^21 may be', set32(FIELD.clusterBits, 8)],
    ['says its clusters have 2^22 bytes; 2^9 to 2^21 may be', set32(FIELD.clusterBits, 22)],
    ['says its clusters have 2^4294967295 bytes', set32(FIELD.clusterBits, 0xffff_ffff)],
    ['says its header has 96 bytes', set32(FIELD.headerBytes, 96)],
    ['says its header has 110 bytes', set32(FIELD.headerBytes, 110)],
    ['says its header has 8192 bytes, more than a cluster', set32(FIELD.headerBytes, 8192)],
    ['says it is a disk of more than 8 PiB', set32(FIELD.size, 0x0020_0000)],
    ['is encrypted, which is not supported', set32(FIELD.cryptMethod, 2)],
    ['says its L1 table has 4194305 entries; 4194304 may be', set32(FIELD.l1Entries, 4_194_305)],
    ['has an L1 table that is too small for its size', set32(FIELD.l1Entries, 0)],
    ['has its L1 table where none can be', set32(FIELD.l1Offset + 4, 4097)],
    ['has its L1 table where none can be', set32(FIELD.l1Offset, 0xffff_ffff)],
    ['has its refcount table where none can be', set32(FIELD.refcountTableOffset + 4, 0)],
    ['says its refcount table has 2049 clusters, which is too much', set32(FIELD.refcountTableClusters, 2049)],
    ['has no refcount table', set32(FIELD.refcountTableClusters, 0)],
    ['says it holds 65537 snapshots; 65536 may be', set32(FIELD.snapshots, 65_537)],
    ['says its refcounts have 2^7 bits; 2^6 may be', set32(FIELD.refcountOrder, 7)],
    ['keeps its data in another file, which is not supported', set32(FIELD.incompatible + 4, 1 << 2)],
    ['contradicts itself about its compression', set32(FIELD.incompatible + 4, 1 << 3)],
    ['is compressed in a way that is not known, type 2', set32(FIELD.compressionType, 2 << 24)],
    ['has extended L2 entries with clusters of 4096 bytes, which is too little', set32(FIELD.incompatible + 4, 1 << 4)],
    ['needs a feature that is not known: incompatible bit 5', set32(FIELD.incompatible + 4, 1 << 5)],
    ['needs a feature that is not known: incompatible bit 63', set32(FIELD.incompatible, 0x8000_0000)],
    [
      'has a header extension that goes beyond its place',
      (bytes) => {
        set32(112, 77)(bytes);
        set32(116, 0xffff_fff0)(bytes);
      },
    ],
    ["says its backing file's name has 1024 bytes; 1023 may be", backed(200, 1024)],
    ["has its backing file's name outside its first cluster", backed(4090, 10)],
    ["has its backing file's name outside its first cluster", backed(40, 10, '')],
    ["has a backing file's name that is no text", backed(200, 3, 'a\0b')],
  ])('%s', async (sentence, damage) => {
    const bytes = await image();
    damage(bytes);
    const error = await Promise.resolve()
      .then(() => readHeader(bytes.subarray(0, 4096), 'd.qcow2'))
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(BlockStoreError);
    expect((error as BlockStoreError).message).toMatch(/^Disk "d.qcow2" (is damaged|cannot be used): it /);
    expect((error as BlockStoreError).message).toContain(sentence);
  });

  test('a feature that is not known by the name that the image has for it', async () => {
    const bytes = await image();
    set32(112, EXTENSION.FEATURE_NAMES)(bytes);
    set32(116, 48)(bytes);
    bytes.set([0, 9, ...new TextEncoder().encode('time\x1b travel')], 120);
    set32(FIELD.incompatible + 4, 1 << 9)(bytes);
    expect(() => readHeader(bytes, 'd')).toThrow('needs a feature that is not known: "time travel"');
  });

  test.each([0, 4, 71, 72, 103])('a file of %d bytes', async (length) => {
    const bytes = await image();
    expect(() => readHeader(bytes.subarray(0, length), 'd')).toThrow('ends within its header');
  });
});
