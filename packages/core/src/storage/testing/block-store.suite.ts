/**
 * What every BlockStore promises, as one suite: call it with a way to make a store that holds given bytes.
 *
 *     blockStore('the memory store', (content, readOnly) => Promise.resolve(new MemoryBlockStore(content, readOnly)));
 */

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BlockStore } from '../../base/ports.ts';

const SIZE = 64 * 1024;

/** A view into shared memory, as guest memory hands them out. */
function shared(length: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(length + 16), 8, length);
}

function pattern(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + (index >> 8) + seed) & 0xff);
}

export function blockStore(kind: string, make: (content: Uint8Array, readOnly: boolean) => Promise<BlockStore>): void {
  describe(`${kind} as a BlockStore`, () => {
    test('it has the size and the bytes of what it was made from', async () => {
      const store = await make(pattern(SIZE), true);
      expect(store.sizeBytes).toBe(SIZE);
      expect(store.readOnly).toBe(true);
      const into = shared(SIZE);
      await store.read(0, [into]);
      expect([...into]).toEqual([...pattern(SIZE)]);
      await store.close();
    });

    test('a list of views is read and written as one stretch, in order', async () => {
      const store = await make(new Uint8Array(SIZE), false);
      const from = pattern(3000, 3);
      await store.write(512, [
        from.subarray(0, 1),
        from.subarray(1, 1),
        shared(0),
        from.subarray(1, 2049),
        from.subarray(2049),
      ]);
      await store.flush();
      const into = [shared(1000), shared(0), shared(2000)];
      await store.read(512, into);
      expect(into.flatMap((view) => [...view])).toEqual([...from]);
      await store.close();
    });

    test('an empty list is nothing to do', async () => {
      const store = await make(new Uint8Array(SIZE), false);
      await expect(store.read(0, [])).resolves.toBeUndefined();
      await expect(store.write(SIZE, [])).resolves.toBeUndefined();
      await store.close();
    });

    test('requests may overlap in time', async () => {
      const store = await make(new Uint8Array(SIZE), false);
      const parts = Array.from({ length: 16 }, (_, part) => pattern(4096, part));
      await Promise.all(parts.map((part, index) => store.write(index * 4096, [part])));
      const back = parts.map(() => shared(4096));
      await Promise.all(back.map((into, index) => store.read(index * 4096, [into])));
      expect(back.map((into) => [...into])).toEqual(parts.map((part) => [...part]));
      await store.close();
    });

    test('it behaves like an array of bytes', async () => {
      const request = fc.record({
        write: fc.boolean(),
        offset: fc.nat(SIZE - 1),
        lengths: fc.array(fc.nat(5000), { maxLength: 6 }),
        seed: fc.nat(255),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(request, { maxLength: 12 }), async (requests) => {
          const model = new Uint8Array(SIZE);
          const store = await make(new Uint8Array(SIZE), false);
          const reads: { readonly seen: number[]; readonly expected: number[] }[] = [];
          for (const { write, offset, lengths, seed } of requests) {
            let at = offset;
            const views: Uint8Array[] = [];
            for (const length of lengths) {
              const view = shared(Math.min(length, SIZE - at));
              if (write) view.set(pattern(view.length, seed));
              views.push(view);
              at += view.length;
            }
            if (write) {
              await store.write(offset, views);
              at = offset;
              for (const view of views) {
                model.set(view, at);
                at += view.length;
              }
            } else {
              await store.read(offset, views);
              reads.push({ seen: views.flatMap((view) => [...view]), expected: [...model.subarray(offset, at)] });
            }
          }
          await store.close();
          expect(reads.map(({ seen }) => seen)).toEqual(reads.map(({ expected }) => expected));
        }),
        { numRuns: 30 },
      );
    });
  });
}
