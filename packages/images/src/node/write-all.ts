/** Writing all of some bytes at a place in a file: a disk that is all but full takes a part of them and says so, which is no error yet. */

import type { FileHandle } from 'node:fs/promises';

export async function writeAll(
  file: Pick<FileHandle, 'write'>,
  bytes: Uint8Array,
  positionBytes: number,
): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, positionBytes + at);
    at += bytesWritten;
  }
}
