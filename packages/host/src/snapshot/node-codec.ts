/** What snapshots ask of Node: SHA-256, zstd, and turns of the event loop. */

import { createHash, hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompressSync } from 'node:zlib';
import type { SnapshotCodec } from '@ringfence/core';

/** Pages of a guest get hardly smaller above it, and take longer. */
const LEVEL = 3;
const compress = promisify(zstdCompress);

export const nodeSnapshotCodec: SnapshotCodec = {
  digest: (bytes) => hash('sha256', bytes),
  hash() {
    const sum = createHash('sha256');
    return { update: (bytes) => void sum.update(bytes), digest: () => sum.digest('hex') };
  },
  compress: (bytes) => compress(bytes, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } }),
  decompress: (frame, bytes) => zstdDecompressSync(frame, { maxOutputLength: bytes }),
  turn: () => turn(),
};
