import { describe, expect, test } from 'vitest';
import { copyBytes } from './copy-bytes.ts';

describe.each([
  ['shared memory', () => new Uint8Array(new SharedArrayBuffer(64))],
  ['memory of one thread', () => new Uint8Array(64)],
])('bytes of %s', (_, make) => {
  const numbered = (): Uint8Array => make().map((_byte, index) => index);

  test('are copied to where they are wanted, and nothing else is', () => {
    const target = new Uint8Array(64).fill(255);
    copyBytes(numbered(), 10, 20, target, 3);
    expect([...target.subarray(0, 16)]).toEqual([255, 255, 255, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 255, 255, 255]);
  });

  test('come from another memory', () => {
    const target = make();
    copyBytes(new Uint8Array([1, 2, 3, 4]), 1, 3, target, 62);
    expect([...target.subarray(60)]).toEqual([0, 0, 2, 3]);
  });

  test('may lie over those that they become', () => {
    const bytes = make();
    for (let index = 0; index < bytes.length; index++) bytes[index] = index;
    copyBytes(bytes, 0, 8, bytes, 4);
    expect([...bytes.subarray(0, 14)]).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 12, 13]);
  });
});
