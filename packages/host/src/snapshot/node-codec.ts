/** What snapshots ask of Node: SHA-256, zstd, and turns of the event loop. */

import { createHash, hash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import process from 'node:process';
import { promisify } from 'node:util';
import type { SnapshotCodec } from '@ringfence/core';

/**
 * As fast as pages can be taken: level 3 has 25 % fewer bytes than -3 and takes twice as long. Where one processor is left beside that which takes them, a
 * snapshot is there sooner, and 40 % larger, with -20.
 */
const LEVEL = availableParallelism() > 2 ? -3 : -20;
/** Most frames come at once, and not 16 KiB at a time, each a turn of the event loop. */
const CHUNK_BYTES = 128 * 1024;
/** Loaded when it is needed: a machine whose first pages lie beside its snapshot (hot-pages.ts) seldom does. */
const zlib = (): typeof import('node:zlib') => process.getBuiltinModule('node:zlib');

export const nodeSnapshotCodec: SnapshotCodec = {
  digest: (bytes) => hash('sha256', bytes),
  digestBytes: (bytes) => hash('sha256', bytes, 'latin1'),
  hash() {
    const sum = createHash('sha256');
    return { update: (bytes) => void sum.update(bytes), digest: () => sum.digest('hex') };
  },
  compress(bytes) {
    const { constants, zstdCompress } = zlib();
    return promisify(zstdCompress)(bytes, {
      chunkSize: CHUNK_BYTES,
      params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
    });
  },
  decompress: (frame, bytes) => zlib().zstdDecompressSync(frame, { maxOutputLength: bytes }),
  turn: () => turn(),
};
