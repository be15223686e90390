/** What a migration asks of Node. */

import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { constants, crc32, zstdCompress, zstdDecompressSync } from 'node:zlib';
import type { MigrationCodec } from '@ringfence/core';

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
