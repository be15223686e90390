/** Where everything is kept that was made once and can be made again. In a file of its own: who only wants this loads no downloader. */

import { homedir } from 'node:os';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The cache's folder: the caller's, RINGFENCE_CACHE, or `ringfence` under the user's cache folder (XDG Base Directory Specification). */
export function cacheFolder(option: string | undefined, env: Environment): string {
  const given = option ?? env['RINGFENCE_CACHE'];
  if (given !== undefined && given !== '') return resolve(given);
  const base = env['XDG_CACHE_HOME'];
  return join(base?.startsWith('/') === true ? base : join(env['HOME'] ?? homedir(), '.cache'), 'ringfence');
}

/** Of a file of an image, what it is called in its folder. */
export function imageFileName(kind: string, sha256: string): string {
  return `${kind}-${sha256.slice(0, 16)}`;
}

/** Where the cache may have that file of an image: who uses it looks whether it does. */
export async function cachedImageFiles(cache: string, kind: string, sha256: string): Promise<string[]> {
  const images = join(cache, 'images');
  const names = await readdir(images).catch(() => []);
  return names.map((name) => join(images, name, imageFileName(kind, sha256)));
}
