/** How a thread of ours is started in whatever process we are. */

import process from 'node:process';
import type { WorkerOptions } from 'node:worker_threads';

/** A process that reads its program from standard input, or from its command line, says of what kind that is; of our files it is not true. */
const OF_TEXT_ONLY = '--input-type';

/** Options for the Worker of one of our files: what this Node was started with, but for that. */
export function threadStart(words: readonly string[] = process.execArgv): WorkerOptions {
  return {
    execArgv: words.filter(
      (word, index) =>
        word !== OF_TEXT_ONLY && !word.startsWith(`${OF_TEXT_ONLY}=`) && words[index - 1] !== OF_TEXT_ONLY,
    ),
  };
}
