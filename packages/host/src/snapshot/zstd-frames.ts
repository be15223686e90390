/** Frames of zstd (RFC 8878), and CRC-32 of them, as snapshots have them: at once, where the calling thread has nothing else to do, or on one of Node's own threads. */

import { availableParallelism } from 'node:os';
import process from 'node:process';
import { promisify } from 'node:util';
import type { ZstdOptions } from 'node:zlib';

/**
 * As fast as pages can be taken: level 3 has 25 % fewer bytes than -3 and takes twice as long. Where one processor is left beside that which takes them, a
 * snapshot is there sooner, and 40 % larger, with -20.
 */
const LEVEL = availableParallelism() > 2 ? -3 : -20;
/** Beside what is expected: so all that comes out has one piece of memory, whatever it was, and comes at once. */
const ROOM_BYTES = 4096;

/** Loaded when it is needed: a machine whose first pages lie beside its snapshot (hot-pages.ts) seldom does. */
const zlib = (): typeof import('node:zlib') => process.getBuiltinModule('node:zlib');

export function packNow(plain: Uint8Array): Uint8Array {
  return zlib().zstdCompressSync(plain, options(plain));
}

export function packElsewhere(plain: Uint8Array): Promise<Uint8Array> {
  return promisify(zlib().zstdCompress)(plain, options(plain));
}

/** A little more room than there can be, or Node looks for a second piece of memory when the first is full. */
export function unpack(frame: Uint8Array, bytes: number): Uint8Array {
  return zlib().zstdDecompressSync(frame, { maxOutputLength: bytes, chunkSize: bytes + ROOM_BYTES });
}

export function checksumOf(bytes: Uint8Array): number {
  return zlib().crc32(bytes);
}

function options({ length }: Uint8Array): ZstdOptions {
  return {
    chunkSize: length + ROOM_BYTES,
    params: { [zlib().constants.ZSTD_c_compressionLevel]: LEVEL },
  };
}
