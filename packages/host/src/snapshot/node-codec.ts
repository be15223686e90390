/** What snapshots ask of Node: SHA-256, zstd, and turns of the event loop. */

import { createHash, hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import process from 'node:process';
import { promisify } from 'node:util';
import type { SnapshotCodec } from '@ringfence/core';

/** Pages of a guest get hardly smaller above it, and take longer. */
const LEVEL = 3;
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
    return promisify(zstdCompress)(bytes, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } });
  },
  decompress: (frame, bytes) => zlib().zstdDecompressSync(frame, { maxOutputLength: bytes }),
  turn: () => turn(),
};
