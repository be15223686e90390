/** What snapshots ask of Node: SHA-256, zstd, and turns of the event loop. */

import { createHash, hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import type { SnapshotCodec } from '@ringfence/core';
import { FramePacker } from './frame-packer.ts';
import { checksumOf, unpack } from './zstd-frames.ts';

/** One for all snapshots of the process. */
const packer = new FramePacker();

export const nodeSnapshotCodec: SnapshotCodec = {
  digest: (bytes) => hash('sha256', bytes),
  digestBytes: (bytes) => hash('sha256', bytes, 'latin1'),
  checksum: checksumOf,
  hash() {
    const sum = createHash('sha256');
    return { update: (bytes) => void sum.update(bytes), digest: () => sum.digest('hex') };
  },
  pack: (plain) => packer.pack(plain),
  decompress: unpack,
  turn: () => turn(),
};
