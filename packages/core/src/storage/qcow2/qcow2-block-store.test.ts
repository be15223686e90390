import { deflateRawSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockStoreError } from '../../base/block-store-error.ts';
import type { BlockStore } from '../../base/ports.ts';
import { MemoryBlockStore } from '../memory-block-store.ts';
import { MemoryImageFile } from '../memory-image-file.ts';
import { blockStore } from '../testing/block-store.suite.ts';
import { viewOf } from './big-endian.ts';
import { createQcow2 } from './create-qcow2.ts';
import type { NewQcow2 } from './create-qcow2.ts';
import { FIELD } from './header.ts';
import { Qcow2BlockStore, readQcow2Header } from './qcow2-block-store.ts';
import { nodeDecompress } from './testing/qemu-img.ts';

const CLUSTER = 4096;
const SIZE = 64 * CLUSTER;

interface Made {
  readonly file: MemoryImageFile;
  readonly store: Qcow2BlockStore;
}

async function empty(options: Partial<NewQcow2> = {}): Promise<MemoryImageFile> {
  const file = new MemoryImageFile('d.qcow2');
  await createQcow2(file, { sizeBytes: SIZE, clusterBytes: CLUSTER, ...options });
  return file;
}

async function open(file: MemoryImageFile, backing?: BlockStore): Promise<Qcow2BlockStore> {
  return Qcow2BlockStore.open({ file, header: await readQcow2Header(file), backing, decompress: nodeDecompress });
}

async function make(options: Partial<NewQcow2> = {}, backing?: BlockStore): Promise<Made> {
  const file = await empty(options);
  return { file, store: await open(file, backing) };
}

async function read(store: BlockStore, offset: number, bytes: number): Promise<Uint8Array> {
  const into = new Uint8Array(bytes);
  await store.read(offset, [into]);
  return into;
}

/** Where the L2 table of L1 entry 0 is. */
function l2Offset(file: MemoryImageFile): number {
  const view = viewOf(file.content);
  return view.getUint32(view.getUint32(FIELD.l1Offset + 4) + 4);
}

/** Where cluster 0 of the disk is. */
function firstHost(file: MemoryImageFile): number {
  return viewOf(file.content).getUint32(l2Offset(file) + 4);
}

function setL2(file: MemoryImageFile, cluster: number, high: number, low: number): void {
  const view = viewOf(file.content);
  view.setUint32(l2Offset(file) + cluster * 8, high);
  view.setUint32(l2Offset(file) + cluster * 8 + 4, low);
}

for (const [what, options] of [
  ['a qcow2 image', {}],
  ['a qcow2 image with the smallest clusters', { clusterBytes: 512, refcountBits: 64 }],
  ['a qcow2 image with subclusters', { clusterBytes: 65_536, subclusters: true }],
] as const) {
  blockStore(what, async (content, readOnly) => {
    const { file, store } = await make({ sizeBytes: content.length, ...options });
    await store.write(0, [content]);
    if (!readOnly) return store;
    await store.close();
    return open(new MemoryImageFile('d.qcow2', file.content, true));
  });
}

test('an image takes no more room than what was written, and gives discarded room to the next who wants it', async () => {
  const { file, store } = await make();
  await store.write(0, [new Uint8Array(16 * CLUSTER).fill(1)]);
  await store.flush();
  const full = file.sizeBytes;
  expect(full).toBe((4 + 1 + 16) * CLUSTER);
  await store.discard(0, 16 * CLUSTER);
  await store.flush();
  await store.write(30 * CLUSTER, [new Uint8Array(16 * CLUSTER).fill(2)]);
  await store.flush();
  expect(file.sizeBytes).toBe(full);
  expect(await read(store, 0, CLUSTER)).toEqual(new Uint8Array(CLUSTER));
});

test('discarded room is not used again before the file knows that it is free', async () => {
  const { file, store } = await make();
  await store.write(0, [new Uint8Array(CLUSTER).fill(1)]);
  await store.flush();
  await store.discard(0, CLUSTER);
  await store.write(5 * CLUSTER, [new Uint8Array(CLUSTER).fill(2)]);
  // Killed here, the file's tables show the old cluster, and it holds what it held.
  const killed = await open(new MemoryImageFile('d.qcow2', file.content.slice(), true));
  expect((await read(killed, 0, CLUSTER))[0]).toBe(1);
});

test('discarded room is given back to the computer when the file knows that it is free, unless somebody else has it', async () => {
  const file = await empty();
  const holes: (readonly [number, number])[] = [];
  const punchHole = (at: number, bytes: number): Promise<boolean> => {
    // Nothing in the file points there, and nobody can have it yet.
    expect(viewOf(file.content).getUint32(l2Offset(file) + 4)).toBe(0);
    holes.push([at, bytes]);
    return Promise.resolve(true);
  };
  const store = await open(Object.assign(file, { punchHole }));
  await store.write(0, [new Uint8Array(8 * CLUSTER).fill(1)]);
  await store.flush();
  const host = firstHost(file);
  // One of the clusters is counted twice, as if a snapshot had it.
  viewOf(file.content).setUint16(2 * CLUSTER + (host / CLUSTER + 3) * 2, 2);
  await store.close();
  const again = await open(file);
  await again.discard(0, 8 * CLUSTER);
  expect(holes).toEqual([]);
  await again.flush();
  expect(holes.toSorted(([a], [b]) => a - b)).toEqual([
    [host, 3 * CLUSTER],
    [host + 4 * CLUSTER, 4 * CLUSTER],
  ]);
});

test('zeroes take no room, and with room kept the next write needs none', async () => {
  const { file, store } = await make();
  await store.writeZeroes(0, 16 * CLUSTER, true);
  await store.write(0, [new Uint8Array(2 * CLUSTER).fill(1)]);
  await store.flush();
  const before = file.sizeBytes;
  await store.writeZeroes(0, CLUSTER, false);
  await store.flush();
  expect(await read(store, 0, CLUSTER)).toEqual(new Uint8Array(CLUSTER));
  await store.write(100, [new Uint8Array(10).fill(3)]);
  const seen = await read(store, 0, CLUSTER + 1);
  expect([seen[99], seen[100], seen[109], seen[110], seen[CLUSTER]]).toEqual([0, 3, 3, 0, 1]);
  await store.flush();
  expect(file.sizeBytes).toBe(before);
});

test('a part of a cluster that is written gets the rest from behind, and what is behind stays', async () => {
  const behind = new Uint8Array(SIZE).fill(7);
  const { store } = await make({}, new MemoryBlockStore(behind, true));
  await store.write(CLUSTER + 10, [Uint8Array.of(9)]);
  const seen = await read(store, CLUSTER, CLUSTER);
  expect([seen[9], seen[10], seen[11]]).toEqual([7, 9, 7]);
  await store.discard(CLUSTER, CLUSTER);
  expect(await read(store, CLUSTER, 11)).toEqual(new Uint8Array(11));
  await store.writeZeroes(2 * CLUSTER, CLUSTER, true);
  expect((await read(store, 2 * CLUSTER, 1))[0]).toBe(0);
  expect((await read(store, 3 * CLUSTER, 1))[0]).toBe(7);
  expect(behind.every((byte) => byte === 7)).toBe(true);
});

test('two writes to one new cluster at once are both there', async () => {
  const { store } = await make();
  await Promise.all(
    Array.from({ length: 8 }, (_, part) => store.write(part * 512, [new Uint8Array(512).fill(part + 1)])),
  );
  const seen = await read(store, 0, CLUSTER);
  expect(Array.from({ length: 8 }, (_, part) => seen[part * 512])).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test('promises of others that we do not keep are taken back before the first change, and not before', async () => {
  const file = await empty();
  viewOf(file.content).setUint32(FIELD.autoclear + 4, 0x8000_0001);
  const store = await open(file);
  await read(store, 0, 1);
  await store.flush();
  expect(viewOf(file.content).getUint32(FIELD.autoclear + 4)).toBe(0x8000_0001);
  await store.write(0, [Uint8Array.of(1)]);
  expect(viewOf(file.content).getUint32(FIELD.autoclear + 4)).toBe(0);
});

test('an image that is marked as corrupt can be read and not be written', async () => {
  const { file, store } = await make();
  await store.write(0, [Uint8Array.of(5)]);
  await store.close();
  viewOf(file.content).setUint32(FIELD.incompatible + 4, 2);
  await expect(open(file)).rejects.toThrow('is marked as corrupt; "qemu-img check -r all" may repair it');
  const reader = await open(new MemoryImageFile('d.qcow2', file.content, true));
  expect((await read(reader, 0, 1))[0]).toBe(5);
});

test('an image whose counts were not kept is read as it is, and counted anew before it is written', async () => {
  const { file, store } = await make();
  await store.write(0, [new Uint8Array(3 * CLUSTER).fill(5)]);
  await store.close();
  viewOf(file.content).setUint32(FIELD.incompatible + 4, 1);
  // Counts of data are missing, and free clusters are counted.
  file.content.fill(0, 2 * CLUSTER + 8, 2 * CLUSTER + 14);
  viewOf(file.content).setUint16(2 * CLUSTER + 200, 3);
  const before = file.content.slice();
  const reader = await open(new MemoryImageFile('d.qcow2', before.slice(), true));
  expect((await read(reader, 0, 1))[0]).toBe(5);
  const writer = await open(file);
  expect(viewOf(file.content).getUint32(FIELD.incompatible + 4)).toBe(0);
  await writer.write(10 * CLUSTER, [new Uint8Array(20 * CLUSTER).fill(6)]);
  await writer.close();
  const again = await open(file);
  expect([
    (await read(again, 0, 3 * CLUSTER)).every((byte) => byte === 5),
    (await read(again, 29 * CLUSTER, 1))[0],
  ]).toEqual([true, 6]);
  await again.close();
});

test('an image whose counts were not kept, and which is damaged too, is not touched', async () => {
  const { file, store } = await make();
  await store.write(0, [Uint8Array.of(5)]);
  await store.close();
  viewOf(file.content).setUint32(FIELD.incompatible + 4, 1);
  setL2(file, 3, 0x8000_0000, 100);
  const before = file.content.slice();
  await expect(open(file)).rejects.toThrow('has an L2 entry that');
  expect(file.content).toEqual(before);
});

describe('an image that contradicts itself', () => {
  const damaged = async (damage: (file: MemoryImageFile) => void): Promise<Made> => {
    const { file, store } = await make();
    await store.write(0, [new Uint8Array(2 * CLUSTER).fill(5)]);
    await store.close();
    damage(file);
    return { file, store: await open(file) };
  };
  const failure = async (work: Promise<unknown>): Promise<string> => {
    const error = await work.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(BlockStoreError);
    expect(error).toMatchObject({ code: 'corrupt' });
    return (error as BlockStoreError).message;
  };

  test.each([
    ['its header', () => 0],
    ['its L1 table', () => 3 * CLUSTER],
    ['its L2 table', l2Offset],
    ['its refcount block', () => 2 * CLUSTER],
  ])('by data where %s is does not let a guest write there, nor anywhere from then on', async (_, place) => {
    const { file, store } = await damaged((image) => setL2(image, 0, 0x8000_0000, place(image)));
    const before = file.content.slice();
    const sentence = await failure(store.write(0, [new Uint8Array(CLUSTER).fill(6)]));
    expect(sentence).toMatch(/has a table|points nowhere/);
    expect(await failure(store.write(CLUSTER, [Uint8Array.of(1)]))).toBe(sentence);
    expect(await failure(store.flush())).toBe(sentence);
    // It says so itself, and nothing else changed.
    const after = file.content.slice();
    expect(viewOf(after).getUint32(FIELD.incompatible + 4)).toBe(2);
    viewOf(after).setUint32(FIELD.incompatible + 4, 0);
    expect(after).toEqual(before);
    await store.close();
  });

  test('by data behind the end of its file says that it was cut short', async () => {
    const { store } = await damaged((image) => setL2(image, 0, 0x8000_0000, 100 * CLUSTER));
    expect(await failure(read(store, 0, 1))).toBe(
      'Disk "d.qcow2" is damaged: it keeps cluster 0 of the disk beyond the end of its file, which was cut short',
    );
    expect((await read(store, CLUSTER, 1))[0]).toBe(5);
  });

  test.each([
    ['has an L2 entry for cluster 0 that points to no cluster', 0x8000_0000, 5 * CLUSTER + 512],
    ['has an L2 entry for cluster 0 that has reserved bits set', 0x8100_0000, 5 * CLUSTER],
  ])('%s', async (sentence, high, low) => {
    const { store } = await damaged((image) => setL2(image, 0, high, low));
    expect(await failure(read(store, 0, 1))).toContain(sentence);
  });

  test('by counting used clusters as free does not lose its tables', async () => {
    const { store } = await damaged((image) => image.content.fill(0, 2 * CLUSTER, 3 * CLUSTER));
    expect(await failure(store.write(10 * CLUSTER, [new Uint8Array(CLUSTER).fill(6)]))).toContain(
      'counts clusters as free that hold its tables',
    );
    expect((await read(store, 0, 1))[0]).toBe(5);
  });

  test('by a count of zero for a cluster that is given up is told when it is flushed', async () => {
    const { store } = await damaged((image) => viewOf(image.content).setUint16(2 * CLUSTER + 2 * 4, 0));
    await store.discard(0, CLUSTER);
    expect(await failure(store.flush())).toContain('counts 0 references to cluster 4, and has dropped one');
  });

  test.each([
    [
      'has an L1 entry 0 that cannot be',
      (image: MemoryImageFile) => viewOf(image.content).setUint32(3 * CLUSTER, 0x4000_0000),
    ],
    [
      'has a refcount block 0 where none can be',
      (image: MemoryImageFile) => viewOf(image.content).setUint32(CLUSTER + 4, 100),
    ],
    [
      'keeps two of its tables in one place',
      (image: MemoryImageFile) => viewOf(image.content).setUint32(CLUSTER + 4, 3 * CLUSTER),
    ],
    [
      'has an L1 table that goes beyond the end of its file',
      (image: MemoryImageFile) => viewOf(image.content).setUint32(FIELD.l1Offset, 1),
    ],
    [
      'has a refcount table that goes beyond the end of its file',
      (image: MemoryImageFile) => viewOf(image.content).setUint32(FIELD.refcountTableOffset, 1),
    ],
  ])('%s: it is not opened', async (sentence, damage) => {
    expect(await failure(damaged(damage))).toContain(sentence);
  });

  test('by an L2 table behind the end of its file fails reads there', async () => {
    const { store } = await damaged((image) => viewOf(image.content).setUint32(3 * CLUSTER + 4, 200 * CLUSTER));
    expect(await failure(read(store, 0, 1))).toContain('has its L2 table 0 beyond the end of its file');
  });
});

describe('a compressed cluster', () => {
  const compressed = async (packed: Uint8Array): Promise<Made> => {
    const { file, store } = await make();
    await store.write(0, [new Uint8Array(CLUSTER).fill(5)]);
    await store.close();
    const host = firstHost(file);
    await file.write(host, [packed]);
    // 8 sectors from the start of its cluster.
    setL2(file, 0, 0x4000_0000 | (7 << 26), host);
    return { file, store: await open(file) };
  };
  const content = Uint8Array.from({ length: CLUSTER }, (_, index) => index >> 4);

  test('is read, and written by being unpacked to a new place', async () => {
    const { store } = await compressed(deflateRawSync(content));
    expect(await read(store, 100, 200)).toEqual(content.subarray(100, 300));
    await store.write(150, [Uint8Array.of(255)]);
    const seen = await read(store, 0, CLUSTER);
    expect([seen[149], seen[150], seen[151]]).toEqual([content[149], 255, content[151]]);
  });

  test.each([
    ['is no deflate stream', new Uint8Array(CLUSTER).fill(0xff)],
    ['is too short', deflateRawSync(content.subarray(0, 100))],
    ['is too long', deflateRawSync(new Uint8Array(CLUSTER + 1))],
  ])('whose data %s fails the read, and the disk goes on', async (_, packed) => {
    const { store } = await compressed(packed);
    await expect(read(store, 0, 1)).rejects.toThrow(
      'Disk "d.qcow2" cannot be read: cluster 0 of the disk is compressed, and its data is damaged',
    );
    await store.write(CLUSTER, [Uint8Array.of(1)]);
    await store.close();
  });

  test('needs somebody who can unpack it', async () => {
    const { file } = await compressed(deflateRawSync(content));
    const store = await Qcow2BlockStore.open({ file, header: await readQcow2Header(file) });
    await expect(read(store, 0, 1)).rejects.toMatchObject({ code: 'unsupported' });
  });
});

test('closing waits for what is under way, and everything of it is there', async () => {
  const { file, store } = await make();
  const writes = Array.from({ length: 20 }, (_, index) =>
    store.write(index * 3 * CLUSTER + 100, [new Uint8Array(CLUSTER).fill(index + 1)]),
  );
  await store.close();
  await Promise.all(writes);
  const again = await open(file);
  for (let index = 0; index < 20; index++)
    expect((await read(again, index * 3 * CLUSTER + CLUSTER + 99, 1))[0]).toBe(index + 1);
});

test('a file that cannot be written fails the request, and later ones succeed', async () => {
  const { file, store } = await make();
  const write = file.write.bind(file);
  file.write = () => Promise.reject(new BlockStoreError('full', 'no space'));
  await expect(store.write(0, [new Uint8Array(CLUSTER).fill(1)])).rejects.toThrow('no space');
  await expect(store.flush()).rejects.toThrow('no space');
  file.write = write;
  await store.write(0, [new Uint8Array(CLUSTER).fill(2)]);
  await store.write(CLUSTER, [new Uint8Array(CLUSTER).fill(3)]);
  await store.close();
  const again = await open(file);
  expect([(await read(again, 0, 1))[0], (await read(again, CLUSTER, 1))[0]]).toEqual([2, 3]);
});

test('whatever bytes of an image are damaged, its host gets an answer', async () => {
  const { file, store } = await make({ refcountBits: 2 });
  for (let cluster = 0; cluster < 20; cluster += 2)
    await store.write(cluster * CLUSTER, [new Uint8Array(CLUSTER).fill(cluster)]);
  await store.writeZeroes(5 * CLUSTER, CLUSTER, true);
  await store.close();
  const whole = file.content.slice();
  // The header, the four tables, and beyond.
  const place = fc.oneof(
    fc.nat(120),
    fc.nat(4).chain((table) => fc.nat(200).map((at) => (table + 1) * CLUSTER + at)),
  );
  const change = fc.record({
    at: place,
    value: fc.oneof(fc.constantFrom(0, 1, 2, 0x10, 0x40, 0x80, 0xff), fc.nat(255)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(whole.length), async (changes, cut) => {
      const bytes = whole.slice(0, cut % 3 === 0 ? cut : whole.length);
      for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value;
      const hurt = new MemoryImageFile('hurt', bytes);
      const tolerate = (error: unknown): void => {
        if (!(error instanceof BlockStoreError)) throw error;
      };
      try {
        const disk = await open(hurt);
        const end = Math.min(disk.sizeBytes, SIZE);
        for (let cluster = 0; cluster < 12 && end > 0; cluster++) {
          const at = Math.min(cluster * CLUSTER + 100, end - 1);
          await disk.read(at, [new Uint8Array(Math.min(6000, end - at))]).catch(tolerate);
          await disk.write(at, [new Uint8Array(Math.min(5000, end - at)).fill(1)]).catch(tolerate);
          await disk.discard(at, Math.min(9000, end - at)).catch(tolerate);
          await disk.flush().catch(tolerate);
        }
        await disk.close().catch(tolerate);
      } catch (error) {
        tolerate(error);
      }
    }),
    { numRuns: 300 },
  );
});
