/**
 * The start snapshot that processes of machines begin with, too: their modules are in it, as those of `ringfence run` are (tools/build/start-snapshot.ts).
 * It lies beside the built program; a daemon that runs out of its sources starts its machines out of them.
 */

import { readFileSync, realpathSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Names of files beside the program's, as `ringfence/built-program` has them. */
const SNAPSHOT_FILE = './run.blob';
const START_FILE = './start.json';

/** The one that `node` can begin with, of the program at `program`; undefined where there is none, or another Node made it. */
export function startSnapshotOf(program: URL, node: string): string | undefined {
  if (program.pathname.endsWith('.ts')) return undefined;
  try {
    const made = JSON.parse(readFileSync(new URL(START_FILE, program), 'utf8')) as Record<'node' | 'stamp', string>;
    const { size, mtimeMs } = statSync(node);
    const isMaker = realpathSync(node) === made.node && `${size} ${mtimeMs}` === made.stamp;
    const snapshot = fileURLToPath(new URL(SNAPSHOT_FILE, program));
    return isMaker && statSync(snapshot).isFile() ? snapshot : undefined;
  } catch {
    return undefined;
  }
}
