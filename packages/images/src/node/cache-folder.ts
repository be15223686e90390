/** Where everything is kept that was made once and can be made again. In a file of its own: who only wants this loads no downloader. */

import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The cache's folder: the caller's, RINGFENCE_CACHE, or `ringfence` under the user's cache folder (XDG Base Directory Specification). */
export function cacheFolder(option: string | undefined, env: Environment): string {
  const given = option ?? env['RINGFENCE_CACHE'];
  if (given !== undefined && given !== '') return resolve(given);
  const base = env['XDG_CACHE_HOME'];
  return join(base?.startsWith('/') === true ? base : join(env['HOME'] ?? homedir(), '.cache'), 'ringfence');
}
