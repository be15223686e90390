/** The decompressors of Node and of xz-decompress behind the port that the pure layers declare. Loaded only when an image is made. */

import { Readable, pipeline } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import xz from 'xz-decompress';
import type { Compression } from '../debian/deb.ts';
import { ImageError } from '../image-error.ts';

/**
 * Unpacks `stream`. INVARIANT: xz-decompress works on one stream at a time and makes others wait, so no xz stream may be read while
 * another is being read.
 */
export async function* decompress(
  compression: Compression,
  stream: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sourceFailure: unknown;
  const source = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* stream;
    } catch (error) {
      sourceFailure = error;
      throw error;
    }
  };
  try {
    yield* unpacked(compression, source());
  } catch (cause) {
    if (sourceFailure !== undefined) throw sourceFailure;
    throw new ImageError('bad-format', `A file compressed with ${compression} is damaged.`, cause);
  }
}

function unpacked(compression: Compression, source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  switch (compression) {
    case 'none':
      return source;
    case 'gzip':
      return pipeline(Readable.from(source), createGunzip(), ignore);
    case 'zstd':
      return pipeline(Readable.from(source), createZstdDecompress(), ignore);
    case 'xz':
      return unpackedXz(source);
  }
}

/**
 * xz-decompress may not be cancelled: it frees its context twice when the end is near, and lets the next stream in too early. A reader
 * who has seen enough lets it run into a source that fails, after which it cleans up as it should.
 */
async function* unpackedXz(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let isEnough = false;
  const stoppable = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of source) {
      if (isEnough) throw new Error('the rest is not wanted');
      yield chunk;
    }
  };
  const reader = new xz.XzReadableStream(ReadableStream.from<Uint8Array>(stoppable())).getReader();
  let isOver = false;
  const next = async (): Promise<Uint8Array | undefined> => {
    try {
      const { done, value } = await reader.read();
      isOver = done;
      return value;
    } catch (error) {
      isOver = true;
      throw error;
    }
  };
  try {
    for (let chunk = await next(); chunk !== undefined; chunk = await next()) yield chunk;
  } finally {
    isEnough = true;
    while (!isOver) await next().catch(ignore);
  }
}

/** A failure reaches whoever reads the stream. */
function ignore(): void {}
