/** What snapshots ask of Node: SHA-256, zstd, and turns of the event loop. */

import { createHash, hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import process from 'node:process';
import { promisify } from 'node:util';
import type { SnapshotCodec } from '@ringfence/core';

/** As fast as pages can be taken: level 3 has 25 % fewer bytes and takes twice as long. */
const LEVEL = -3;
/** Most frames come at once, and not 16 KiB at a time, each a turn of the event loop. */
const CHUNK_BYTES = 128 * 1024;
/** Loaded when it is needed: a machine whose first pages lie beside its snapshot (hot-pages.ts) seldom does. */
const zlib = (): typeof import('node:zlib') => process.getBuiltinModule('node:zlib');

export const nodeSnapshotCodec: SnapshotCodec = {
  digest: (bytes) => hash('sha256', bytes),
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
