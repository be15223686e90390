/**
 * Sends ICMP echoes with the host's `ping`: a program of Node has no sockets for them, and `ping` has the privilege that they need. One
 * process for each echo, so what a guest measures is some milliseconds more than the way takes. Linux's ping (iputils, busybox).
 */

import { execFile } from 'node:child_process';
import type { EchoOutcome, IpAddress } from '@ringfence/core';

const PROGRAM = 'ping';
/** Seconds that an answer is waited for. */
const PATIENCE_S = 4;
/** Then the program is ended. */
const TIMEOUT_MS = 1000 * (PATIENCE_S + 2);
const MAXIMUM_OUTPUT_BYTES = 16 * 1024;

/** Undefined where the host is not one whose `ping` is known. */
export function echoProgram(
  platform: NodeJS.Platform = process.platform,
  program = PROGRAM,
): ((to: IpAddress, dataBytes: number) => Promise<EchoOutcome>) | undefined {
  if (platform !== 'linux') return undefined;
  return (to, dataBytes) =>
    new Promise((resolve) => {
      const words = ['-n', '-c', '1', '-W', `${PATIENCE_S}`, '-s', `${dataBytes}`, to.toString()];
      const options = { timeout: TIMEOUT_MS, maxBuffer: MAXIMUM_OUTPUT_BYTES, env: { ...process.env, LC_ALL: 'C' } };
      execFile(program, words, options, (error, stdout, stderr) => resolve(outcomeOf(error, `${stdout}\n${stderr}`)));
    });
}

/** What an exit of `ping` and its words mean (ping(8), EXIT STATUS). */
export function outcomeOf(error: { readonly code?: unknown } | null, text: string): EchoOutcome {
  if (error === null) return 'answered';
  if (/unreachable|no route to host|cannot assign requested address/i.test(text)) return 'unreachable';
  // 1: nobody answered. A program that is not there, or may not do it, is something else.
  return error.code === 1 || (typeof error.code !== 'number' && error.code !== 'ENOENT' && error.code !== 'EACCES')
    ? 'silent'
    : 'prohibited';
}
