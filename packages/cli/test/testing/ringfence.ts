/** Runs the command line as a user does: the real launcher in a process of its own. */

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';

export const LAUNCHER = fileURLToPath(new URL('../../bin/ringfence.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export function start(...words: readonly string[]): ChildProcessWithoutNullStreams {
  return spawn(execPath, [LAUNCHER, ...words]);
}

/** Waits for the end; `input` is all of its stdin. */
export async function end(child: ChildProcessWithoutNullStreams, input: string | Uint8Array = ''): Promise<Ended> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => stderr.push(bytes));
  // The process may end before it has read everything.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}

export function ringfence(words: readonly string[], input?: string | Uint8Array): Promise<Ended> {
  return end(start(...words), input);
}

/** What people see: the exit code and the two streams as text. */
export async function answer(words: readonly string[], input?: string): Promise<[number | null, string, string]> {
  const { code, stdout, stderr } = await ringfence(words, input);
  return [code, stdout.toString(), stderr];
}
