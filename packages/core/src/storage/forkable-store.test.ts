import { expect, test } from 'vitest';
import type { BlockStore } from '../base/ports.ts';
import { ForkableStore, MAXIMUM_FORK_DEPTH, MAXIMUM_FORK_POINTS } from './forkable-store.ts';
import { MemoryBlockStore } from './memory-block-store.ts';
import { MemoryImageFile } from './memory-image-file.ts';
import { openOverlay } from './open-disk.ts';

const SIZE = 1 << 20;

const overlay = (backing: BlockStore): Promise<BlockStore> => openOverlay(new MemoryImageFile('overlay'), backing);

/** A disk that says how often it was closed. */
function disk(): { readonly store: BlockStore; readonly closings: () => number } {
  const store = new MemoryBlockStore(new Uint8Array(SIZE));
  let closings = 0;
  const close = store.close.bind(store);
  store.close = () => {
    closings++;
    return close();
  };
  return { store, closings: () => closings };
}

async function put(store: BlockStore, at: number, value: number): Promise<void> {
  await store.write(at, [new Uint8Array(512).fill(value)]);
}

async function valueAt(store: BlockStore, offset: number): Promise<number> {
  const bytes = new Uint8Array(512);
  await store.read(offset, [bytes]);
  return bytes[0] ?? -1;
}

test('what a disk holds when it is forked all have, and what is written then each has alone', async () => {
  const parent = new ForkableStore(disk().store);
  await put(parent, 0, 1);
  const prepared = await parent.prepare(2, overlay);
  // Until it happens the machine writes on.
  await put(parent, 4096, 2);
  prepared.commit();
  const [one, two] = prepared.forks;
  if (!one || !two) throw new Error('two forks');
  await put(parent, 0, 3);
  await put(one, 0, 4);
  await put(one, 8192, 5);
  expect([await valueAt(parent, 0), await valueAt(one, 0), await valueAt(two, 0)]).toEqual([3, 4, 1]);
  expect([await valueAt(parent, 4096), await valueAt(one, 4096), await valueAt(two, 4096)]).toEqual([2, 2, 2]);
  expect([await valueAt(parent, 8192), await valueAt(one, 8192), await valueAt(two, 8192)]).toEqual([0, 5, 0]);
  const again = await one.prepare(1, overlay);
  again.commit();
  const [third] = again.forks;
  await put(one, 0, 6);
  expect(third && (await valueAt(third, 0))).toBe(4);
});

test('what is read and written is counted, of each alone', async () => {
  const parent = new ForkableStore(disk().store);
  await put(parent, 0, 1);
  await valueAt(parent, 0);
  const prepared = await parent.prepare(1, overlay);
  prepared.commit();
  const [fork] = prepared.forks;
  await put(parent, 0, 2);
  expect(parent.counts).toEqual({ operations: 3, bytes: 3 * 512 });
  expect(fork?.counts).toEqual({ operations: 0, bytes: 0 });
});

test('the disk behind is closed with the last one who reads it', async () => {
  const { store, closings } = disk();
  const parent = new ForkableStore(store);
  const prepared = await parent.prepare(1, overlay);
  prepared.commit();
  await parent.close();
  expect(closings()).toBe(0);
  await prepared.forks[0]?.close();
  expect(closings()).toBe(1);
});

test('a fork that does not happen leaves the disk as it was', async () => {
  const { store, closings } = disk();
  const parent = new ForkableStore(store);
  await (await parent.prepare(2, overlay)).abandon();
  const failing = parent.prepare(2, () => Promise.reject(new Error('no room for an image')));
  await expect(failing).rejects.toThrow('no room for an image');
  await put(parent, 0, 7);
  expect(await valueAt(parent, 0)).toBe(7);
  expect(closings()).toBe(0);
  await parent.close();
  expect(closings()).toBe(1);
});

test('forks of forks are limited, and moments that are read still', async () => {
  let last = new ForkableStore(disk().store);
  const all: BlockStore[] = [last];
  for (let depth = 0; depth < MAXIMUM_FORK_DEPTH; depth++) {
    expect(last.isForkable).toBe(true);
    const { forks, commit } = await last.prepare(1, overlay);
    commit();
    last = forks[0] ?? last;
    await put(last, 512 * depth, depth);
    all.push(last);
  }
  expect(last.isForkable).toBe(false);
  expect(await valueAt(last, 512 * 7)).toBe(7);
  await Promise.all(all.map((each) => each.close()));

  const parent = new ForkableStore(disk().store);
  const forks: BlockStore[] = [];
  for (let n = 0; n < MAXIMUM_FORK_POINTS; n++) {
    const prepared = await parent.prepare(1, overlay);
    prepared.commit();
    forks.push(...prepared.forks);
    await put(parent, 0, n % 256);
  }
  expect(parent.isForkable).toBe(false);
  expect([await valueAt(forks[0] ?? parent, 0), await valueAt(forks[200] ?? parent, 0)]).toEqual([0, 199]);
  await Promise.all(forks.map((each) => each.close()));
  expect(parent.isForkable).toBe(true);
});

test('a disk that others were to have is here when it cannot be made durable, and theirs when it cannot be closed', async () => {
  const front = disk().store;
  const lent = new ForkableStore(front);
  front.flush = () => Promise.reject(new Error('no'));
  await expect(lent.handOver()).rejects.toThrow('no');
  expect(lent.isHandedOver).toBe(false);
  front.flush = () => Promise.resolve();
  front.close = () => Promise.reject(new Error('no'));
  await expect(lent.handOver()).rejects.toThrow('no');
  expect(lent.isHandedOver).toBe(true);
  const again = disk().store;
  await put(again, 0, 7);
  lent.takeBack(again);
  expect([lent.isHandedOver, await valueAt(lent, 0)]).toEqual([false, 7]);
});
