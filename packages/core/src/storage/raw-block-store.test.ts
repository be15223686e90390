import { describe, expect, test } from 'vitest';
import { BlockStoreError } from '../base/block-store-error.ts';
import { MemoryImageFile } from './memory-image-file.ts';
import { RawBlockStore } from './raw-block-store.ts';
import { blockStore } from './testing/block-store.suite.ts';

blockStore('a raw image', (content, readOnly) =>
  Promise.resolve(new RawBlockStore(new MemoryImageFile('disk', content.slice(), readOnly))),
);

test('a length that is no whole number of sectors is cut and said', () => {
  const store = new RawBlockStore(new MemoryImageFile('d.img', new Uint8Array(1000)));
  expect(store.sizeBytes).toBe(512);
  expect(store.note).toBe(
    'Disk "d.img" is 1000 bytes long, which is no whole number of sectors of 512; the guest does not see the last 488 bytes',
  );
  expect(new RawBlockStore(new MemoryImageFile('d.img', new Uint8Array(1024))).note).toBeUndefined();
  expect(() => new RawBlockStore(new MemoryImageFile('d.img', new Uint8Array(511)))).toThrow(
    'Disk "d.img" has no room for a single sector of 512 bytes',
  );
});

test('zeroes are written over any length', async () => {
  const bytes = new Uint8Array(1_000_000).fill(1);
  await new RawBlockStore(new MemoryImageFile('d.img', bytes)).writeZeroes(3, 700_000, false);
  expect(bytes.indexOf(0)).toBe(3);
  expect(bytes.lastIndexOf(0)).toBe(700_002);
});

describe('a disk in a file with holes', () => {
  class FileWithHoles extends MemoryImageFile {
    readonly holes: (readonly [number, number])[] = [];
    isPossible = true;

    readonly punchHole = async (offsetBytes: number, bytes: number): Promise<boolean> => {
      if (!this.isPossible) return false;
      this.holes.push([offsetBytes, bytes]);
      this.content.fill(0, offsetBytes, offsetBytes + bytes);
      return true;
    };
  }
  const full = (): FileWithHoles => new FileWithHoles('d.img', new Uint8Array(65_536).fill(1));

  test('gives discarded blocks back, whole ones only', async () => {
    const file = full();
    const store = new RawBlockStore(file);
    expect(store.discardGranularityBytes).toBe(4096);
    await store.discard(512, 12_288);
    await store.discard(40_960, 4095);
    expect(file.holes).toEqual([[4096, 8192]]);
    expect([file.content[4095], file.content[4096], file.content[12_288]]).toEqual([1, 0, 1]);
  });

  test.each([true, false])(
    'reads as zero to the byte where zeroes may be holes, and holes are possible: %s',
    async (isPossible) => {
      const file = full();
      file.isPossible = isPossible;
      await new RawBlockStore(file).writeZeroes(512, 12_288, true);
      expect(file.holes).toEqual(isPossible ? [[4096, 8192]] : []);
      expect([file.content.indexOf(0), file.content.lastIndexOf(0)]).toEqual([512, 12_799]);
    },
  );

  test('keeps the room of zeroes that a guest wants kept', async () => {
    const file = full();
    await new RawBlockStore(file).writeZeroes(0, 65_536, false);
    expect(file.holes).toEqual([]);
  });

  test('takes nothing from a file without holes', () => {
    expect(
      new RawBlockStore(new MemoryImageFile('d.img', new Uint8Array(512))).discardGranularityBytes,
    ).toBeUndefined();
  });
});

describe('a disk that was taken for raw', () => {
  const QCOW2 = Uint8Array.of(0x51, 0x46, 0x49, 0xfb);
  const disk = (guarded: boolean): RawBlockStore =>
    new RawBlockStore(new MemoryImageFile('d.img', new Uint8Array(1024)), { guarded });

  test('cannot be made a qcow2 image by its guest, in one write or byte by byte', async () => {
    const store = disk(true);
    await expect(store.write(0, [QCOW2.subarray(0, 1), QCOW2.subarray(1)])).rejects.toThrow(BlockStoreError);
    await store.write(1, [QCOW2.subarray(1)]);
    await expect(store.write(0, [QCOW2.subarray(0, 1)])).rejects.toThrow(
      'Disk "d.img" was taken for raw, and the guest writes the beginning of a qcow2 image to it',
    );
    await store.write(0, [Uint8Array.of(0x52)]);
    const start = new Uint8Array(4);
    await store.read(0, [start]);
    expect([...start]).toEqual([0x52, 0x46, 0x49, 0xfb]);
    await store.write(512, [QCOW2]);
  });

  test('can, where the user called it raw', async () => {
    await expect(disk(false).write(0, [QCOW2])).resolves.toBeUndefined();
  });
});
