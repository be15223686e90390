/**
 * Runs a program in place of this one, as far as Node lets us: same terminal and streams, signals passed on, and this process ends the
 * way the program ended. JavaScript for Node 18, see ringfence.js.
 */

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import process from 'node:process';
import { isatty } from 'node:tty';

/** Sent to one process by whoever wants it to end. */
const PASSED_ON = /** @type {const} */ (['SIGTERM', 'SIGHUP', 'SIGUSR2']);
/** Typed at a terminal these reach every process in the foreground, so the program has them already. */
const TYPED = /** @type {const} */ (['SIGINT', 'SIGQUIT']);

/**
 * @param {string} program
 * @param {readonly string[]} programArguments
 * @param {(problem: string) => void} onProblem called when the program could not be started
 * @returns {void}
 */
export function relaunch(program, programArguments, onProblem) {
  const child = spawn(program, programArguments, { stdio: 'inherit' });
  const atTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor));
  for (const signal of PASSED_ON) process.on(signal, () => child.kill(signal));
  for (const signal of TYPED) process.on(signal, () => atTerminal || child.kill(signal));
  child.on('error', (error) => onProblem(error.message));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    endBy(signal);
  });
}

/**
 * Ends this process by the signal that ended the program, so that a shell sees the same status.
 * @param {NodeJS.Signals} signal
 * @returns {void}
 */
function endBy(signal) {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // Still here: the signal is one that this process ignores. 128 + n is how a shell would report it.
  setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
}
