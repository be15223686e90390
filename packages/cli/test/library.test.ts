/** The README's example of the library does what the README says. */

import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../../..');
const LIMIT_MS = 120_000;

test("the README's example of the library boots Debian's kernel and prints what uname says", async () => {
  const options = { cwd: ROOT, timeout: LIMIT_MS };
  const { stdout: example } = await promisify(execFile)(process.execPath, ['tools/readme.ts', 'library'], options);
  const running = promisify(execFile)(process.execPath, ['--input-type=module-typescript', '-'], options);
  running.child.stdin?.end(example);
  const { stdout, stderr } = await running;
  expect(stdout).toMatch(/^Linux tiny \d+\.\d+\S* .*riscv64 GNU\/Linux\n$/);
  expect(stderr).toBe('');
});
