/**
 * The built program: the sources without their types, in a few files instead of 200, made by `npm ci` (tools/build.ts). It is there in a
 * quarter of the time that the sources need and takes 28 MB less, most of it Node's own tool that takes types away. It is never needed:
 * the sources run as they are, and they do as soon as one of them is not the file that was built.
 */

import { readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const REPOSITORY = join(import.meta.dirname, '../../..');
/** Relative to the repository, as are the names of the inputs. */
export const PROGRAM_FOLDER = 'build/program';
/** In the program's folder: what it was made of. */
export const INPUTS_FILE = 'inputs.json';
/** `ringfence run` as a snapshot of Node's heap, and by which Node it was made. */
export const SNAPSHOT_FILE = 'run.blob';
export const START_FILE = 'start.json';

/**
 * How a file that was built is known again: its size and when it was last written.
 * @param {string} path
 * @returns {string | undefined} undefined when there is no file
 */
export function stampOf(path) {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && `${found.size} ${found.mtimeMs}`;
}

/**
 * The address of one of the program's files; undefined when it was not built, or not of what the sources are now.
 * @param {string} file
 * @param {string} [repository]
 * @returns {string | undefined}
 */
export function builtProgram(file, repository = REPOSITORY) {
  try {
    const folder = join(repository, PROGRAM_FOLDER);
    const inputs = /** @type {Record<string, string>} */ (JSON.parse(readFileSync(join(folder, INPUTS_FILE), 'utf8')));
    const isCurrent = Object.entries(inputs).every(([name, stamp]) => stampOf(join(repository, name)) === stamp);
    return isCurrent ? pathToFileURL(join(folder, file)).href : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The start snapshot for `node`; undefined when there is none, or another Node made it.
 * @param {string} node
 * @param {string} [repository]
 * @returns {string | undefined}
 */
export function startSnapshot(node, repository = REPOSITORY) {
  try {
    const folder = join(repository, PROGRAM_FOLDER);
    const made = /** @type {{ node: string, stamp: string }} */ (
      JSON.parse(readFileSync(join(folder, START_FILE), 'utf8'))
    );
    return realpathSync(node) === made.node && stampOf(node) === made.stamp ? join(folder, SNAPSHOT_FILE) : undefined;
  } catch {
    return undefined;
  }
}
