import { expect, test } from 'vitest';
import { AssertionFailure } from '../base/assert.ts';
import { MemoryBlockStore } from './memory-block-store.ts';
import { blockStore } from './testing/block-store.suite.ts';

blockStore('the memory store', (content, readOnly) => Promise.resolve(new MemoryBlockStore(content, readOnly)));

test('a caller that forgets its own limits is told so, and nothing is copied', async () => {
  const bytes = new Uint8Array(512);
  const store = new MemoryBlockStore(bytes);
  const readOnly = new MemoryBlockStore(bytes, true);
  await expect(store.write(500, [new Uint8Array(13).fill(1)])).rejects.toThrow(AssertionFailure);
  await expect(store.read(-1, [new Uint8Array(1)])).rejects.toThrow(AssertionFailure);
  await expect(readOnly.write(0, [new Uint8Array(1).fill(1)])).rejects.toThrow(AssertionFailure);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
});
