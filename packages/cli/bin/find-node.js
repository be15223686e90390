/** Which Node can run Ringfence, and where `npm ci` put it. JavaScript for Node 18, see ringfence.js. */

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** The first major version that runs our sources. */
export const NODE_NEEDED = 26;

/**
 * @param {string} version as in `process.versions.node`
 * @returns {boolean}
 */
export function isNewEnough(version) {
  return Number.parseInt(version, 10) >= NODE_NEEDED;
}

/**
 * The binary of the npm package `node` as seen from the module `from`; undefined when it is not installed, too old, or its install
 * script, which fetches the binary, did not run.
 * @param {string | URL} from
 * @returns {string | undefined}
 */
export function findNode(from) {
  try {
    const packageFile = createRequire(from).resolve('node/package.json');
    const json = readFileSync(packageFile, 'utf8');
    const { version, bin } = /** @type {{ version: string, bin: { node: string } }} */ (JSON.parse(json));
    const binary = join(dirname(packageFile), bin.node);
    return isNewEnough(version) && existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}
