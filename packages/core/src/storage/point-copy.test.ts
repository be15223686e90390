import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BlockStore } from '../base/ports.ts';
import { ForkableStore } from './forkable-store.ts';
import { MemoryBlockStore } from './memory-block-store.ts';
import { MemoryImageFile } from './memory-image-file.ts';
import { openOverlay } from './open-disk.ts';
import { GRANULE_BYTES, PointCopy } from './point-copy.ts';
import { change, contentOf, make, pattern } from './testing/changes.ts';

const GRANULES = 40;
/** The last granule is no whole one. */
const SIZE = GRANULES * GRANULE_BYTES - 512;
const BASE = pattern(1, SIZE);

const overlay = (backing: BlockStore): Promise<BlockStore> => openOverlay(new MemoryImageFile('overlay'), backing);
const base = (): BlockStore => new MemoryBlockStore(BASE.slice(), true);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('the copy is the disk as it was, whatever is written meanwhile, and one that builds on it has what differs', async () => {
  const changes = fc.array(change(SIZE), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(changes, changes, changes, async (before, meanwhile, after) => {
      const disk = new ForkableStore(await overlay(base()));
      for (const each of before) await make(disk, each);
      const was = await contentOf(disk);
      const first = await overlay(base());
      const copy = new PointCopy({ source: disk, sourceLayers: 1, target: first, targetLayers: 0 });
      disk.copy = copy;
      const copied = copy.run(turn);
      for (const each of meanwhile) await make(disk, each);
      await copied;
      disk.copy = undefined;
      expect(Buffer.compare(await contentOf(first), was)).toBe(0);

      for (const each of after) await make(disk, each);
      const is = await contentOf(disk);
      const second = await overlay(first);
      const increment = new PointCopy({ source: disk, sourceLayers: 1, target: second, targetLayers: 1 });
      disk.copy = increment;
      const changing = Promise.all(before.map((each) => make(disk, each)));
      await increment.run(turn);
      await changing;
      disk.copy = undefined;
      expect(Buffer.compare(await contentOf(second), is)).toBe(0);
      const changed = [...meanwhile, ...after].reduce(
        (sum, { sectors }) => sum + (Math.ceil((sectors * 512) / GRANULE_BYTES) + 1) * GRANULE_BYTES,
        0,
      );
      expect(increment.copiedBytes).toBeLessThanOrEqual(changed);
    }),
    { numRuns: 40 },
  );
});

test('only what the disk itself holds is copied, not what stands behind it', async () => {
  const disk = new ForkableStore(await overlay(base()));
  await make(disk, { kind: 'write', sector: 1000, sectors: 8, value: 9 });
  const target = await overlay(base());
  const copy = new PointCopy({ source: disk, sourceLayers: 1, target, targetLayers: 0 });
  await copy.run(turn);
  expect(copy.copiedBytes).toBe(4096);
});

test('a guest writes on when the copy cannot be written, and who made it hears of it', async () => {
  const disk = new ForkableStore(new MemoryBlockStore(BASE.slice()));
  const target = new MemoryBlockStore(new Uint8Array(SIZE));
  target.write = () => Promise.reject(new Error('no space'));
  const copy = new PointCopy({ source: disk, sourceLayers: 1, target, targetLayers: 0 });
  disk.copy = copy;
  await make(disk, { kind: 'write', sector: 0, sectors: 1, value: 200 });
  await expect(copy.run(turn)).rejects.toThrow('no space');
  await make(disk, { kind: 'write', sector: 700, sectors: 1, value: 200 });
  const now = await contentOf(disk);
  expect([now[0], now[700 * 512]]).toEqual([200, 200]);
});

test('a copy that is given up ends, and holds nobody up', async () => {
  const disk = new ForkableStore(new MemoryBlockStore(BASE.slice()));
  const copy = new PointCopy({
    source: disk,
    sourceLayers: 1,
    target: new MemoryBlockStore(new Uint8Array(SIZE)),
    targetLayers: 0,
  });
  disk.copy = copy;
  const running = copy.run(turn);
  await copy.stop();
  await expect(running).rejects.toThrow('given up');
  await make(disk, { kind: 'write', sector: 5000, sectors: 1, value: 3 });
  expect((await contentOf(disk))[5000 * 512]).toBe(3);
});
