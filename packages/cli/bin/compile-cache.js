/** Where Node may keep what it compiled. JavaScript for Node 18, see ringfence.js. */

import { homedir } from 'node:os';
import { join } from 'node:path';
import { env, platform } from 'node:process';

/**
 * A folder below the user's own cache directory, never a shared one: whoever can write there decides what runs next time. Undefined
 * where the user has no home.
 * @returns {string | undefined}
 */
export function compileCacheFolder() {
  try {
    const caches =
      platform === 'darwin' ? join(homedir(), 'Library/Caches') : env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
    return join(caches, 'ringfence', 'node-compile-cache');
  } catch {
    return undefined;
  }
}
