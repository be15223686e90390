/** The README's example of the library does what the README says. */

import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../../..');
const LIMIT_MS = 120_000;

/** Runs the README's block of that name as a program of its own. */
async function example(name: string): Promise<{ stdout: string; stderr: string }> {
  const options = { cwd: ROOT, timeout: LIMIT_MS };
  const { stdout: program } = await promisify(execFile)(process.execPath, ['tools/readme.ts', name], options);
  const running = promisify(execFile)(process.execPath, ['--input-type=module-typescript', '-'], options);
  running.child.stdin?.end(program);
  return running;
}

test("the README's example of the library boots Debian's kernel and runs a command in it", async () => {
  expect(await example('vm')).toEqual({ stdout: 'hello from riscv64 0\n', stderr: '' });
});

test("the README's example of a machine from its parts boots Debian's kernel and prints what uname says", async () => {
  const { stdout, stderr } = await example('library');
  expect(stdout).toMatch(/^Linux tiny \d+\.\d+\S* .*riscv64 GNU\/Linux\n$/);
  expect(stderr).toBe('');
});
