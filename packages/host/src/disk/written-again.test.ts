import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WrittenAgain } from './written-again.ts';
import { WrittenRanges } from './written-ranges.ts';

describe('what was written', () => {
  test('is all in the ranges, which are few, in order and apart', () => {
    const writes = fc.array(fc.tuple(fc.nat(400), fc.nat(40)), { maxLength: 60 });
    fc.assert(
      fc.property(writes, fc.integer({ min: 2, max: 20 }), (list, maximum) => {
        const ranges = new WrittenRanges(maximum);
        for (const [start, length] of list) ranges.add(start, start + length);
        const taken = ranges.take();
        expect(taken.length).toBeLessThanOrEqual(maximum);
        for (const [index, { start, end }] of taken.entries()) {
          expect(start).toBeLessThan(end);
          expect(start).toBeGreaterThan(taken[index - 1]?.end ?? -1);
        }
        for (const [start, length] of list)
          if (length > 0) expect(taken.some((range) => range.start <= start && range.end >= start + length)).toBe(true);
        expect(ranges.take()).toEqual([]);
      }),
    );
  });

  test('is exactly that while there is room', () => {
    const ranges = new WrittenRanges();
    for (const [start, end] of [
      [10, 20],
      [30, 40],
      [20, 25],
      [5, 6],
      [39, 50],
    ] as const)
      ranges.add(start, end);
    expect(ranges.take()).toEqual([
      { start: 5, end: 6 },
      { start: 10, end: 25 },
      { start: 30, end: 50 },
    ]);
  });
});

describe('a file', () => {
  const BYTES = 3 * 1024 * 1024;
  let folder = '';
  let file: FileHandle;
  let again: WrittenAgain;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ringfence-written-'));
    const path = join(folder, 'file');
    file = await open(path, 'wx+');
    await file.write(randomBytes(BYTES));
    again = (await WrittenAgain.open(path, true))!;
  });
  afterEach(async () => {
    await Promise.all([file.close(), again.close()]);
    await rm(folder, { recursive: true });
  });

  test('is what was written last, however writes and flushes come together', async () => {
    const expected = Buffer.alloc(BYTES);
    await file.read(expected, 0, BYTES, 0);
    const flushes: Promise<void>[] = [];
    const writes = Array.from({ length: 400 }, async (_, index) => {
      const start = (index * 7919 * 4096) % (BYTES - 65_536);
      const bytes = randomBytes(1 + ((index * 977) % 65_536));
      await again.writing(start, bytes.length, async () => {
        await file.write(bytes, 0, bytes.length, start);
        // Writes of one range are done one after the other, so that this is the order of the file, too.
        bytes.copy(expected, start);
      });
      if (index % 10 === 0) flushes.push(again.flush());
    });
    await Promise.all(writes);
    await Promise.all([...flushes, again.flush()]);
    const found = Buffer.alloc(BYTES);
    await file.read(found, 0, BYTES, 0);
    expect(found.equals(expected)).toBe(true);
  });

  test('is not asked for where fdatasync is allowed', async () => {
    expect(await WrittenAgain.open(join(folder, 'file'))).toBeUndefined();
  });
});
