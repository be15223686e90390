import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BlockStore } from '../base/ports.ts';
import { DiskMirror, MIRROR_GRANULE_BYTES } from './disk-mirror.ts';
import { ForkableStore } from './forkable-store.ts';
import { MemoryBlockStore } from './memory-block-store.ts';
import { MemoryImageFile } from './memory-image-file.ts';
import { openOverlay } from './open-disk.ts';
import { change, contentOf, make, pattern, type Change } from './testing/changes.ts';

/** The last granule is no whole one. */
const SIZE = 40 * MIRROR_GRANULE_BYTES - 512;
const BASE = pattern(1, SIZE);

const overlay = (backing: BlockStore): Promise<BlockStore> => openOverlay(new MemoryImageFile('overlay'), backing);
const base = (): BlockStore => new MemoryBlockStore(BASE.slice(), true);
const never = (): Promise<void> => new Promise(() => undefined);

/** Takes pieces until nothing is left, `turns` at most, and puts them where they belong. */
async function carry(mirror: DiskMirror, target: BlockStore, turns: number): Promise<void> {
  for (let turn = 0; turn < turns && mirror.leftBytes > 0; turn++)
    for (const { offsetBytes, bytes, data } of await mirror.take())
      await (data === undefined ? target.writeZeroes(offsetBytes, bytes, true) : target.write(offsetBytes, [data]));
}

test('what is taken, and taken again when it was changed, makes another disk the same', async () => {
  const changes = fc.array(change(SIZE), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(changes, changes, fc.boolean(), fc.nat(6), async (before, meanwhile, isWhole, turns) => {
      const disk = new ForkableStore(await overlay(base()));
      for (const each of before) await make(disk, each);
      const target = isWhole ? new MemoryBlockStore(new Uint8Array(SIZE)) : await overlay(base());
      const mirror = new DiskMirror({ source: disk, layers: isWhole ? 2 : 1, isBlank: isWhole, sleep: never });
      disk.mirror = mirror;
      const under: Promise<void>[] = [];
      for (const each of meanwhile) {
        under.push(make(disk, each));
        await carry(mirror, target, turns);
      }
      await Promise.all(under);
      await carry(mirror, target, Infinity);
      expect(Buffer.compare(await contentOf(target), await contentOf(disk))).toBe(0);
      disk.mirror = undefined;
      await make(disk, { kind: 'write', sector: 0, sectors: 1, value: 1 });
      expect(mirror.leftBytes).toBe(0);
    }),
  );
});

test('what stands behind on both sides, and zeroes on a blank disk, are not taken', async () => {
  const disk = new ForkableStore(await overlay(base()));
  await make(disk, { kind: 'write', sector: 0, sectors: 128, value: 7 });
  const taken = async (layers: number, isBlank: boolean): Promise<number> => {
    const mirror = new DiskMirror({ source: disk, layers, isBlank, sleep: never });
    let bytes = 0;
    while (mirror.leftBytes > 0) for (const piece of await mirror.take()) bytes += piece.bytes;
    return bytes;
  };
  expect([await taken(1, false), await taken(2, false)]).toEqual([MIRROR_GRANULE_BYTES, SIZE]);
  await make(disk, { kind: 'zero', sector: 0, sectors: 256, value: 0 });
  expect([await taken(1, false), await taken(2, true)]).toEqual([
    2 * MIRROR_GRANULE_BYTES,
    SIZE - 2 * MIRROR_GRANULE_BYTES,
  ]);
});

test('a change waits while more is left than the limit says, and no longer than a guest bears', async () => {
  const disk = new ForkableStore(await overlay(base()));
  let patience: () => void = () => undefined;
  const sleep = (): Promise<void> => new Promise((resolve) => (patience = resolve));
  const mirror = new DiskMirror({ source: disk, layers: 1, isBlank: false, sleep });
  disk.mirror = mirror;
  const write = (granule: number): Promise<void> & { isOver?: boolean } => {
    const made: Promise<void> & { isOver?: boolean } = make(disk, sector(granule));
    void made.then(() => (made.isOver = true));
    return made;
  };
  const sector = (granule: number): Change => ({ kind: 'write', sector: granule * 128, sectors: 1, value: 3 });
  mirror.limitBytes = 0;
  // As long as the sweep goes on, writes go on, too.
  await write(9);
  while (!mirror.isSwept || mirror.leftBytes > 0) await mirror.take();
  const waiting = write(5);
  await pass();
  expect(waiting.isOver).toBeUndefined();
  await mirror.take();
  await waiting;
  const patient = write(5);
  await pass();
  expect(patient.isOver).toBeUndefined();
  patience();
  await patient;
  const freed = write(5);
  await pass();
  mirror.limitBytes = Infinity;
  await freed;
});

async function pass(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
