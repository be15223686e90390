import { describe, expect, test } from 'vitest';
import { utf8Text, concatenate } from '../archive/octets.ts';
import { collect, streamOf } from '../testing/archives.ts';
import { decompress } from './decompress.ts';

/** "hello, package\n", as xz(1) packs it. */
const XZ = Buffer.from(
  '/Td6WFoAAATm1rRGAgAhARwAAAAQz1jMAQAOaGVsbG8sIHBhY2thZ2UKAABB0gUjVj2AtQABJw/fGvxqH7bzfQEAAAAABFla',
  'base64',
);

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  return utf8Text(concatenate(await collect(stream)));
}

describe('an xz stream', () => {
  test('is unpacked in whatever chunks it comes', async () => {
    for (const chunkSize of [1, 5, 1000])
      expect(await text(decompress('xz', streamOf(XZ, chunkSize)))).toBe('hello, package\n');
  });

  test('that is cut short, empty or changed is an error, and the next one is unpacked all the same', async () => {
    const changed = Buffer.from(XZ);
    changed[30] = (changed[30] ?? 0) ^ 1;
    for (const broken of [XZ.subarray(0, 40), XZ.subarray(0, 0), changed]) {
      await expect(text(decompress('xz', streamOf(broken, 7)))).rejects.toThrow(
        'A file compressed with xz is damaged.',
      );
    }
    expect(await text(decompress('xz', streamOf(XZ)))).toBe('hello, package\n');
  });

  test('can be left in the middle, and its source is left too', async () => {
    let isClosed = false;
    const source = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        yield* streamOf(XZ, 1);
      } finally {
        isClosed = true;
      }
    };
    for await (const chunk of decompress('xz', source())) {
      void chunk;
      break;
    }
    expect(isClosed).toBe(true);
    expect(await text(decompress('xz', streamOf(XZ)))).toBe('hello, package\n');
  });
});

test('a failure of the source stays what it is', async () => {
  const source = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    yield XZ.subarray(0, 20);
    throw new Error('the disk is gone');
  };
  for (const compression of ['xz', 'gzip', 'zstd', 'none'] as const) {
    await expect(text(decompress(compression, source()))).rejects.toThrow('the disk is gone');
  }
});
