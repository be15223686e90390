/**
 * SHA-256 of images that stand behind disks: hundreds of megabytes that hardly ever change. What was found is remembered in the folder of the
 * snapshots, for the file as it was then: the system notes every change of a file in its time of status change (inode(7), "ctime"), which no
 * program can set.
 */

import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { openRegular, openRegularSync, readRegularSync } from '../regular-file.ts';

const FILE = '.digests.json';
/** Files that are remembered; the oldest are forgotten. */
const MAXIMUM_REMEMBERED = 256;
const CHUNK_BYTES = 1024 * 1024;

export interface FileDigest {
  readonly bytes: number;
  readonly sha256: string;
}

/** Reads all of the file; throws what the system says. */
export function digestFile(path: string): FileDigest {
  const fd = openRegularSync(path);
  try {
    const sum = createHash('sha256');
    const chunk = new Uint8Array(CHUNK_BYTES);
    let bytes = 0;
    for (let count = readSync(fd, chunk); count > 0; count = readSync(fd, chunk)) {
      sum.update(chunk.subarray(0, count));
      bytes += count;
    }
    return { bytes, sha256: sum.digest('hex') };
  } finally {
    closeSync(fd);
  }
}

/** As `digestFile`, while others have the thread. */
export async function digestFileInTurns(path: string): Promise<FileDigest> {
  await using file = await openRegular(path);
  const sum = createHash('sha256');
  const chunk = new Uint8Array(CHUNK_BYTES);
  let bytes = 0;
  for (let part = await file.read(chunk); part.bytesRead > 0; part = await file.read(chunk)) {
    sum.update(chunk.subarray(0, part.bytesRead));
    bytes += part.bytesRead;
  }
  return { bytes, sha256: sum.digest('hex') };
}

export class FileDigests {
  readonly #path: string;
  readonly #known: Map<string, FileDigest>;

  constructor(folder: string) {
    this.#path = join(folder, FILE);
    this.#known = new Map(Object.entries(remembered(this.#path)));
  }

  /** Of the file as it is now; throws what the system says. */
  of(path: string): FileDigest {
    const key = stampOf(path);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const digest = digestFile(path);
    // One that was written to while it was read is found out by its stamp the next time.
    if (stampOf(path) === key) this.#remember(key, digest);
    return digest;
  }

  /** As `of`, while others have the thread. */
  async inTurns(path: string): Promise<FileDigest> {
    const key = stampOf(path);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const digest = await digestFileInTurns(path);
    if (stampOf(path) === key) this.#remember(key, digest);
    return digest;
  }

  #remember(key: string, digest: FileDigest): void {
    this.#known.set(key, digest);
    const kept = [...this.#known].slice(-MAXIMUM_REMEMBERED);
    try {
      const unfinished = `${this.#path}.${process.pid}`;
      writeFileSync(unfinished, JSON.stringify(Object.fromEntries(kept)), { mode: 0o600 });
      renameSync(unfinished, this.#path);
    } catch {
      // Then it is found out again.
    }
  }
}

function stampOf(path: string): string {
  const fd = openRegularSync(path);
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  } finally {
    closeSync(fd);
  }
}

function remembered(path: string): Record<string, FileDigest> {
  try {
    const value = JSON.parse(readRegularSync(path)) as Record<string, FileDigest>;
    const isSound = Object.values(value).every(
      ({ bytes, sha256 }) => Number.isSafeInteger(bytes) && /^[0-9a-f]{64}$/.test(sha256),
    );
    return isSound ? value : {};
  } catch {
    return {};
  }
}
