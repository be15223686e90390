/**
 * Packages that were fetched before, by their hashes: CACHE/packages/SHA256.deb. An image made anew, or with more in it, fetches only
 * what is not there. What was not used for longest goes first when they become too many.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Package } from '../debian/packages.ts';
import type { ArchiveSettings } from './archive.ts';

/** All of them together; an image's own may be more for the time of its making. */
const MAX_CACHE_BYTES = 1024 ** 3;

export class PackageCache {
  readonly #folder: string;

  constructor(cache: string) {
    this.#folder = join(cache, 'packages');
  }

  pathOf({ sha256 }: Package): string {
    return join(this.#folder, `${sha256}.deb`);
  }

  /** Sees to it that all `packages` are there and are what the index says. `work` is a folder on the same disk. */
  async fetch(wanted: ArchiveSettings, packages: readonly Package[], work: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const missing: Package[] = [];
    for (const found of packages) {
      wanted.http.signal?.throwIfAborted();
      if (!(await this.#has(found))) missing.push(found);
    }
    const workPath = ({ sha256 }: Package): string => join(work, `${sha256}.deb`);
    const { fetchPackages } = await import('./archive.ts'); // who only starts a machine waits for no downloader
    await fetchPackages(wanted, missing, workPath, async (fetched) => rename(workPath(fetched), this.pathOf(fetched)));
  }

  async #has(wanted: Package): Promise<boolean> {
    const path = this.pathOf(wanted);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return false;
    if (found.size === wanted.size && (await hashOf(path)) === wanted.sha256) {
      await utimes(path, new Date(), new Date());
      return true;
    }
    await rm(path, { force: true });
    return false;
  }

  /** Removes what was not used for longest. */
  async prune(): Promise<void> {
    const files: { readonly path: string; readonly size: number; readonly usedAtMs: number }[] = [];
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const path = join(this.#folder, name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined) files.push({ path, size: found.size, usedAtMs: found.mtimeMs });
    }
    let bytes = files.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of files.toSorted((a, b) => a.usedAtMs - b.usedAtMs)) {
      if (bytes <= MAX_CACHE_BYTES) return;
      await rm(path, { force: true });
      bytes -= size;
    }
  }

  /** Removes all of them. */
  async clear(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function hashOf(path: string): Promise<string> {
  const sum = createHash('sha256');
  const stream: AsyncIterable<Uint8Array> = createReadStream(path, { highWaterMark: 512 * 1024 });
  for await (const chunk of stream) sum.update(chunk);
  return sum.digest('hex');
}
