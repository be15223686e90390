/**
 * qcow2 images with damage anywhere in what describes them: opening, reading, writing, discarding and closing one comes to an end, well or
 * with an error of a disk, in bounded memory, and never touches what is behind the image's backing.
 */

import * as fc from 'fast-check';
import { BlockStoreError } from '../../src/base/block-store-error.ts';
import type { BlockStore } from '../../src/base/ports.ts';
import type { ImageFile } from '../../src/storage/image-file.ts';
import { MemoryBlockStore } from '../../src/storage/memory-block-store.ts';
import { MemoryImageFile } from '../../src/storage/memory-image-file.ts';
import { createQcow2 } from '../../src/storage/qcow2/create-qcow2.ts';
import { Qcow2BlockStore, readQcow2Header } from '../../src/storage/qcow2/qcow2-block-store.ts';
import { nodeDecompress } from '../../src/storage/qcow2/testing/qemu-img.ts';

/** What a file may grow to in one run: every request is small, so nothing sensible comes near. */
const MOST_FILE_BYTES = 64 * 1024 ** 2;
/** Of the disk. */
const SIZE = 256 * 1024;
const LONGEST_REQUEST = 20_000;

/** A file in memory whose end cannot run away. */
class BoundedFile implements ImageFile {
  readonly name = 'hurt';
  readonly readOnly: boolean;
  readonly #file: MemoryImageFile;
  readonly #mostBytes: number;

  constructor(content: Uint8Array, readOnly: boolean) {
    this.#file = new MemoryImageFile(this.name, content, readOnly);
    this.readOnly = readOnly;
    this.#mostBytes = content.length + MOST_FILE_BYTES;
  }

  get sizeBytes(): number {
    return this.#file.sizeBytes;
  }

  read(offsetBytes: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#file.read(offsetBytes, into);
  }

  write(offsetBytes: number, from: readonly Uint8Array[]): Promise<void> {
    // As on a host's file system: a place so far away is full, or as good as.
    if (offsetBytes > this.#mostBytes) return Promise.reject(new BlockStoreError('full', 'the file is full'));
    return this.#file.write(offsetBytes, from);
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

type Shape = {
  readonly clusterBytes: number;
  readonly refcountBits: number;
  readonly subclusters: boolean;
  readonly backed: boolean;
};

const shape: fc.Arbitrary<Shape> = fc
  .record({
    clusterBytes: fc.constantFrom(512, 4096, 65_536),
    refcountBits: fc.constantFrom(1, 2, 8, 16, 64),
    backed: fc.boolean(),
    subclusters: fc.boolean(),
  })
  .map((one) => ({ ...one, subclusters: one.subclusters && one.clusterBytes >= 16_384 }));

/** Where an octet is changed: in the header, or in one of the first clusters, which hold the tables. */
const change = fc.record({
  cluster: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 3, arbitrary: fc.nat(6) }),
  at: fc.oneof({ weight: 3, arbitrary: fc.nat(120) }, fc.nat(511)),
  value: fc.oneof(fc.constantFrom(0, 1, 2, 0x10, 0x40, 0x80, 0xff), fc.nat(255)),
});

const operation = fc.record({
  kind: fc.constantFrom('read' as const, 'write' as const, 'discard' as const, 'zero' as const, 'flush' as const),
  at: fc.nat(SIZE - 1),
  bytes: fc.integer({ min: 1, max: LONGEST_REQUEST }),
});

export function damagedImages(): fc.IAsyncProperty<[unknown]> {
  const all = fc.record({
    shape,
    changes: fc.array(change, { minLength: 1, maxLength: 6 }),
    // Some are cut short.
    cut: fc.oneof(
      { weight: 3, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
    ),
    readOnly: fc.boolean(),
    operations: fc.array(operation, { maxLength: 20 }),
  });
  return fc.asyncProperty(all, async (one) => {
    const backing = one.shape.backed ? new MemoryBlockStore(new Uint8Array(SIZE).fill(0x5a)) : undefined;
    const bytes = await image(one.shape, backing);
    for (const { cluster, at, value } of one.changes) {
      const place = cluster * one.shape.clusterBytes + at;
      if (place < bytes.length) bytes[place] = value;
    }
    const hurt = one.cut === undefined ? bytes : bytes.slice(0, Math.floor(one.cut * bytes.length));
    const file = new BoundedFile(hurt, one.readOnly);
    try {
      const store = await Qcow2BlockStore.open({
        file,
        header: await readQcow2Header(file),
        backing,
        decompress: nodeDecompress,
      });
      // Some at once, as a guest does. A device asks nobody to change what is read-only.
      const operations = one.operations.filter(({ kind }) => !one.readOnly || kind === 'read');
      await Promise.all(operations.map((each) => carryOut(store, each).catch(tolerate)));
      await store.close().catch(tolerate);
    } catch (error) {
      tolerate(error);
    }
  }) as fc.IAsyncProperty<[unknown]>;
}

async function image(
  { clusterBytes, refcountBits, subclusters }: Shape,
  backing: BlockStore | undefined,
): Promise<Uint8Array> {
  const file = new MemoryImageFile('whole');
  await createQcow2(file, { sizeBytes: SIZE, clusterBytes, refcountBits, subclusters });
  const store = await Qcow2BlockStore.open({
    file,
    header: await readQcow2Header(file),
    backing,
    decompress: nodeDecompress,
  });
  for (let at = 0; at < SIZE; at += 3 * 8192) await store.write(at, [new Uint8Array(5000).fill(at >>> 13)]);
  await store.writeZeroes(8192, 8192, true);
  await store.close();
  return file.content.slice();
}

async function carryOut(
  store: BlockStore,
  { kind, at, bytes }: { kind: string; at: number; bytes: number },
): Promise<void> {
  const size = Math.min(bytes, store.sizeBytes - at);
  if (size <= 0) return;
  if (kind === 'read') await store.read(at, [new Uint8Array(size)]);
  else if (kind === 'write') await store.write(at, [new Uint8Array(size).fill(7)]);
  else if (kind === 'discard') await store.discard(at, size);
  else if (kind === 'zero') await store.writeZeroes(at, size, true);
  else await store.flush();
}

function tolerate(error: unknown): void {
  if (!(error instanceof BlockStoreError)) throw error;
}
