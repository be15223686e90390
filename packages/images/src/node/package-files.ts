/** The files of packages on this disk, as a stream. */

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { concatenate } from '../archive/octets.ts';
import type { TarEntry } from '../archive/tar.ts';
import { compressionOf, debEntries } from '../debian/deb.ts';
import { ImageError } from '../image-error.ts';
import { decompress } from './decompress.ts';

/** A package on this disk, verified. */
export interface LocalPackage {
  readonly name: string;
  readonly path: string;
}

export interface Reading {
  readonly signal: AbortSignal | undefined;
  readonly onBytes: (item: string, bytesDone: number, bytesTotal: number) => void;
}

/** Larger files in a package are none that an image needs. */
const MAX_FILE_SIZE = 256 * 1024 * 1024;

/** The entries of all packages, with progress and a check for the caller's wish to stop. */
export async function* packageFiles(
  packages: readonly LocalPackage[],
  { signal, onBytes }: Reading,
): AsyncGenerator<TarEntry, void, undefined> {
  for (const { name, path } of packages) {
    const { size } = await stat(path);
    let bytesDone = 0;
    const counted = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      const stream: AsyncIterable<Uint8Array> = createReadStream(path, { highWaterMark: 256 * 1024 });
      for await (const chunk of stream) {
        signal?.throwIfAborted();
        bytesDone += chunk.length;
        onBytes(name, bytesDone, size);
        yield chunk;
      }
    };
    for await (const entry of debEntries(counted(), name, decompress)) {
      if (entry.kind === 'file' && entry.size > MAX_FILE_SIZE)
        throw new ImageError('bad-format', `${name} holds ${entry.name} of ${entry.size} bytes.`);
      yield entry;
    }
  }
}

/** A file's content, without the compression that its name tells. */
export async function unpackedFile(name: string, content: Uint8Array): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const once = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    yield content;
  };
  for await (const part of decompress(compressionOf(name) ?? 'none', once())) parts.push(part);
  return concatenate(parts);
}
