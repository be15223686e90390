/** How a thread of ours is started in whatever process we are. */

import process from 'node:process';
import type { WorkerOptions } from 'node:worker_threads';

/** A process that reads its program from standard input, or from its command line, says of what kind that is; of our files it is not true. */
const OF_TEXT_ONLY = '--input-type';

/**
 * Options for the Worker of one of our files, in a process with these words before its program. What Node itself passes on to a thread is as it
 * should be, but for that; and V8's words are the process's, which a thread must not be given by name.
 */
export function threadStart(words: readonly string[] = process.execArgv): WorkerOptions {
  return words.some((word) => word === OF_TEXT_ONLY || word.startsWith(`${OF_TEXT_ONLY}=`)) ? { execArgv: [] } : {};
}
