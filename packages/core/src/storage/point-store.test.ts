import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BlockStore } from '../base/ports.ts';
import { ForkableStore } from './forkable-store.ts';
import { MemoryBlockStore } from './memory-block-store.ts';
import { MemoryImageFile } from './memory-image-file.ts';
import { openNewImage, openOverlay } from './open-disk.ts';
import { POINT_GRANULE_BYTES, PointStore } from './point-store.ts';
import { vectorBytes } from './vector.ts';
import { change, contentOf, make, pattern } from './testing/changes.ts';

const GRANULES = 12;
/** The last granule is no whole one. */
const SIZE = GRANULES * POINT_GRANULE_BYTES - 512;
const BASE = pattern(1, SIZE);

const overlay = (backing: BlockStore): Promise<BlockStore> => openOverlay(new MemoryImageFile('overlay'), backing);
/** One whose reads take turns of the event loop, so that changes come in between. */
function slowly(store: BlockStore): BlockStore {
  const { read } = store;
  let turns = 0;
  return Object.assign(store, {
    async read(offsetBytes: number, into: readonly Uint8Array[]) {
      if (++turns % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      await read.call(store, offsetBytes, into);
      if (turns % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    },
  });
}

test('each fork has the disk as it was when it was made, whatever its parent, its neighbours and later forks write meanwhile', async () => {
  const changes = fc.array(change(SIZE), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(changes, changes, changes, changes, changes, async (before, between, after, ofFork, ofTwo) => {
      // What a discard leaves is not said.
      const ofOne = ofFork.filter(({ kind }) => kind !== 'discard');
      const disk = slowly(await overlay(slowly(new MemoryBlockStore(BASE.slice(), true))));
      const parent = new ForkableStore(disk);
      for (const each of before) await make(parent, each);
      const wasFirst = await contentOf(parent);
      const first = await parent.prepare(2, overlay);
      first.commit();
      const [one, two] = first.forks;
      if (!one || !two) throw new Error('two forks');
      // What the second holds is read while the parent writes.
      const [seen] = await Promise.all([contentOf(two), ...between.map((each) => make(parent, each))]);
      expect(Buffer.compare(seen, wasFirst)).toBe(0);
      const wasSecond = await contentOf(parent);
      const second = await parent.prepare(1, overlay);
      second.commit();
      const [three] = second.forks;
      if (!three) throw new Error('a fork');
      const flat = await overlay(new MemoryBlockStore(wasFirst.slice(), true));
      const [late] = await Promise.all([
        contentOf(three),
        ...after.map((each) => make(parent, each)),
        ...ofOne.map((each) => make(one, each)),
      ]);
      for (const each of ofOne) await make(one, each);
      for (const each of ofOne) await make(flat, each);
      for (const each of ofTwo) await make(three, each);
      expect(Buffer.compare(late, wasSecond)).toBe(0);
      expect(Buffer.compare(await contentOf(one), await contentOf(flat))).toBe(0);
      expect(Buffer.compare(await contentOf(two), wasFirst)).toBe(0);
      await parent.close();
      await three.close();
      expect(Buffer.compare(await contentOf(two), wasFirst)).toBe(0);
      await Promise.all([one.close(), two.close()]);
    }),
    { numRuns: 30 },
  );
});

test('what its parent has changed since a fork was made is put aside once, and nothing is when the forks have ended', async () => {
  const parent = new ForkableStore(await overlay(new MemoryBlockStore(BASE.slice(), true)));
  const kept: MemoryImageFile[] = [];
  const counted = (backing: BlockStore): Promise<BlockStore> => {
    const file = new MemoryImageFile(`image ${kept.length}`);
    kept.push(file);
    return openOverlay(file, backing);
  };
  const prepared = await parent.prepare(1, counted);
  prepared.commit();
  const empty = kept[0]?.sizeBytes ?? 0;
  for (let n = 0; n < 5; n++) await make(parent, { kind: 'write', sector: 8 * n, sectors: 8, value: n });
  const grown = kept[0]?.sizeBytes ?? 0;
  expect(grown - empty).toBeGreaterThanOrEqual(POINT_GRANULE_BYTES);
  expect(grown - empty).toBeLessThan(3 * POINT_GRANULE_BYTES);
  await prepared.forks[0]?.close();
  const closed = kept[0]?.sizeBytes;
  await make(parent, { kind: 'write', sector: 1024, sectors: 8, value: 7 });
  expect(kept[0]?.sizeBytes).toBe(closed);
});

test('what cannot be put aside is missing to forks alone, and only where it was changed', async () => {
  const parent = new ForkableStore(await openNewImage(new MemoryImageFile('own'), { sizeBytes: SIZE }));
  await make(parent, { kind: 'write', sector: 0, sectors: 8, value: 3 });
  let images = 0;
  const full = async (backing: BlockStore): Promise<BlockStore> => {
    const store = await overlay(backing);
    if (images++ === 0) store.write = () => Promise.reject(new Error('no space'));
    return store;
  };
  const { forks, commit } = await parent.prepare(1, full);
  commit();
  const [fork] = forks;
  if (!fork) throw new Error('a fork');
  await make(parent, { kind: 'write', sector: 0, sectors: 1, value: 9 });
  const bytes = new Uint8Array(512);
  await expect(fork.read(0, [bytes])).rejects.toMatchObject({ code: 'full' });
  await fork.read(2 * POINT_GRANULE_BYTES, [bytes]);
  await parent.read(0, [bytes]);
  expect(bytes).toEqual(new Uint8Array(512).fill(9));
});

test('what of a fork its own images hold is told, with what was put aside', async () => {
  const base = await openNewImage(new MemoryImageFile('base'), { sizeBytes: SIZE });
  const disk = await overlay(base);
  const parent = new ForkableStore(disk);
  await make(parent, { kind: 'write', sector: 128, sectors: 128, value: 3 });
  const { forks, commit } = await parent.prepare(1, overlay);
  commit();
  const [fork] = forks;
  if (!fork) throw new Error('a fork');
  await make(parent, { kind: 'discard', sector: 128, sectors: 128, value: 0 });
  await make(parent, { kind: 'write', sector: 512, sectors: 1, value: 4 });
  await make(fork, { kind: 'write', sector: 896, sectors: 128, value: 5 });
  const held = [];
  for (let at = 0; at < SIZE;) {
    const run = await fork.heldRun(at, 1);
    if (run.held) held.push(at / POINT_GRANULE_BYTES);
    at = run.held ? at + POINT_GRANULE_BYTES : run.endBytes;
  }
  // Its parent's, before it was discarded, and its own; that of which the parent has changed something counts, too.
  expect(held).toEqual([1, 4, 7]);
});

test('a point that nobody reads any more puts nothing aside', async () => {
  const disk = new MemoryBlockStore(BASE.slice());
  const point = await PointStore.of(disk, overlay);
  await point.close();
  await point.before(0, 512);
  expect(point.isOver).toBe(true);
});

test('what a parent discards is put aside in pieces, however much it is', async () => {
  const sizeBytes = 64 * 2 ** 20;
  const source = new MemoryBlockStore(new Uint8Array(sizeBytes), true);
  const { read } = source;
  let [largest, underWay, most] = [0, 0, 0];
  Object.assign(source, {
    async read(offsetBytes: number, into: readonly Uint8Array[]) {
      const bytes = vectorBytes(into);
      largest = Math.max(largest, bytes);
      most = Math.max(most, (underWay += bytes));
      await new Promise((resolve) => setImmediate(resolve));
      await read.call(source, offsetBytes, into);
      underWay -= bytes;
    },
  });
  const point = await PointStore.of(source, overlay);
  const quarter = sizeBytes / 4;
  await Promise.all([
    ...[0, 1, 2, 3].map((n) => point.before(n * quarter, quarter)),
    // Small ones that come at the same time.
    ...Array.from({ length: 64 }, (_, n) => point.before(n * 2 ** 20 + 300_000, 512)),
  ]);
  expect(largest).toBeLessThanOrEqual(2 ** 20);
  expect(most).toBeLessThanOrEqual(8 * 2 ** 20);
  await point.close();
});
