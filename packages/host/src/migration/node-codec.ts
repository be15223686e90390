/** What a migration asks of Node. */

import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { constants, crc32, zstdCompress, zstdDecompressSync } from 'node:zlib';
import type { MigrationCodec, MigrationTimers } from '@ringfence/core';
import { nodeClock } from '../machine/ports.ts';

export const migrationClock: MigrationTimers = {
  monotonicNs: () => nodeClock.monotonicNs(),
  sleep: (ms) => sleep(ms, undefined, { ref: false }),
};

const compress = promisify(zstdCompress);
/** zstd at its fastest. */
const LEVEL = 1;

/** `isSlow` says whether fewer bytes are worth the time that they take. */
export function nodeMigrationCodec(isSlow: () => boolean = () => false): MigrationCodec {
  return {
    checksum: (bytes) => crc32(bytes),
    compress: async (pages) =>
      isSlow() ? compress(pages, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } }) : undefined,
    decompress: (packed, bytes) => zstdDecompressSync(packed, { maxOutputLength: bytes }),
    turn: () => turn(),
  };
}
