/** The same programs on this machine itself: the physical limit. */

import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suiteLine } from './suite-output.ts';

const RUN_TIMEOUT_MS = 120_000;
/** What kern.c says of a program it could not start: the status of wait(2) for a shell's exit code 127. */
const NOT_FOUND = '7f00';

export interface NativeResult {
  readonly seconds: number;
  readonly check: string;
}

/** Results by name. A program that does not run here (no busybox, say) has none. */
export async function runNatively(folder: string, programNames: readonly string[]): Promise<Map<string, NativeResult>> {
  const scratch = join(folder, 'scratch');
  await mkdir(scratch, { recursive: true });
  const { stdout, stderr } = await promisify(execFile)('sh', [join(folder, 'suite.sh'), ...programNames], {
    env: { ...process.env, B: folder, T: scratch },
    timeout: RUN_TIMEOUT_MS,
  });
  await rm(scratch, { recursive: true });
  const results = new Map<string, NativeResult>();
  for (const line of `${stdout}\n${stderr}`.split('\n')) {
    const said = suiteLine(line);
    if (said?.kind === 'result' && said.check !== NOT_FOUND)
      results.set(said.name, { seconds: said.seconds, check: said.check });
  }
  return results;
}
