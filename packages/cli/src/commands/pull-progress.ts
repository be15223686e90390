/** Shows on stderr how a pull is getting on. */

import process from 'node:process';
import type { PullProgress } from '@ringfence/images';
import { ProgressDisplay } from '../progress.ts';

/** Does `pull` with a display of its progress; nothing is shown when there is nothing to fetch. */
export async function withProgress<Result>(
  pull: (onProgress: (progress: PullProgress) => void) => Promise<Result>,
): Promise<Result> {
  const { stderr } = process;
  const display = new ProgressDisplay(
    {
      isTerminal: stderr.isTTY,
      get columns() {
        return stderr.columns;
      },
      write: (text) => stderr.write(text),
    },
    () => performance.now(),
  );
  try {
    return await pull((progress) => display.show(progress));
  } finally {
    display.end();
  }
}
