import { gzipSync, zstdCompressSync } from 'node:zlib';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { nodeClock, nodeDecompressor, nodeEntropy, nodeTurns } from './ports.ts';

test('the clocks go on, in whole nanoseconds, and the one on the wall is right', () => {
  const before = nodeClock.monotonicNs();
  expect(Number.isInteger(before)).toBe(true);
  expect(nodeClock.monotonicNs()).toBeGreaterThanOrEqual(before);
  expect(Math.abs(Number(nodeClock.wallNs() / 1_000_000n) - Date.now())).toBeLessThan(1000);
});

test('shared memory of any length is filled with random bytes', () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(200_000));
  // oxlint-disable-next-line unicorn/no-array-fill-with-reference-type -- not an array
  nodeEntropy.fill(bytes);
  for (const at of [0, 65_536, 131_072, 199_900])
    expect(bytes.subarray(at, at + 100).some((byte) => byte !== 0)).toBe(true);
});

test('a machine gets no turn while its output is full', async () => {
  const backlog = {
    isFull: true,
    waiting: [] as (() => void)[],
    whenRoom: (callback: () => void) => void backlog.waiting.push(callback),
  };
  let turns = 0;
  nodeTurns([backlog]).soon(() => turns++);
  await turn();
  expect(turns).toBe(0);
  backlog.isFull = false;
  for (const callback of backlog.waiting) callback();
  await turn();
  expect(turns).toBe(1);
});

test('gzip and zstd are unpacked, up to a limit', async () => {
  const content = new Uint8Array(10_000).fill(7);
  expect(await nodeDecompressor.decompress('gzip', gzipSync(content), 10_000)).toEqual(Buffer.from(content));
  expect(await nodeDecompressor.decompress('zstd', zstdCompressSync(content), 10_000)).toEqual(Buffer.from(content));
  await expect(nodeDecompressor.decompress('gzip', gzipSync(content), 9999)).rejects.toThrow('larger');
  await expect(nodeDecompressor.decompress('zstd', zstdCompressSync(content).subarray(0, 12), 10_000)).rejects.toThrow(
    /frame|unexpected/i,
  );
});
