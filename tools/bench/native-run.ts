/** The same programs on this machine itself: the physical limit. */

import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { SideRun } from './figures.ts';
import { suiteLine } from './suite-output.ts';

const RUN_TIMEOUT_MS = 300_000;
/** What the programs say of one they could not start: the status of wait(2) for a shell's exit code 127. */
const NOT_FOUND = '7f00';

/** A program that does not run here (no busybox, say) has no result. */
export async function runNatively(folder: string, programNames: readonly string[]): Promise<SideRun> {
  const scratch = join(folder, 'scratch');
  await mkdir(scratch, { recursive: true });
  const { stdout, stderr } = await promisify(execFile)('sh', [join(folder, 'suite.sh'), ...programNames], {
    env: { ...process.env, B: folder, T: scratch },
    timeout: RUN_TIMEOUT_MS,
  });
  await rm(scratch, { recursive: true });
  const results = `${stdout}\n${stderr}`.split('\n').flatMap((line) => {
    const said = suiteLine(line);
    if (said?.kind !== 'result' || said.check === NOT_FOUND) return [];
    const { name, seconds, check } = said;
    return [{ name, seconds, check, mips: undefined, instructions: undefined }];
  });
  return { results };
}
