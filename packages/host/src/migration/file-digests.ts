/** SHA-256 of files that nobody changes once they are there: each is read once, by whatever name it is asked for. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';

/** Bytes of a file that are read at once. */
export const FILE_CHUNK_BYTES = 1024 * 1024;
/** Digests that are kept; the oldest goes first. */
const MAXIMUM_KNOWN = 1024;

const known = new Map<string, string>();

/** As 64 hexadecimal digits. */
export async function digestOf(path: string): Promise<string> {
  const key = await keyOf(path);
  const before = known.get(key);
  if (before !== undefined) return before;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: FILE_CHUNK_BYTES })) hash.update(chunk as Buffer);
  const digest = hash.digest('hex');
  keep(key, digest);
  return digest;
}

/** Who has just written all of the file knows it. */
export async function rememberDigest(path: string, digest: string): Promise<void> {
  keep(await keyOf(path), digest);
}

function keep(key: string, digest: string): void {
  known.set(key, digest);
  for (const oldest of known.keys()) {
    if (known.size <= MAXIMUM_KNOWN) break;
    known.delete(oldest);
  }
}

/** Another one when the file was written, or is another file. */
async function keyOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
  return [dev, ino, size, mtimeNs].join(' ');
}
