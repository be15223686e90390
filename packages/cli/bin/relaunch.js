/**
 * Runs a program in place of this one. Where Node can, this process becomes the program (execve(2)), so that nothing is left of it;
 * elsewhere as far as Node lets us: same terminal and streams, signals passed on, and this process ends the way the program ended.
 * JavaScript for Node 18, see ringfence.js.
 */

import process from 'node:process';

/** Sent to one process by whoever wants it to end. */
const PASSED_ON = /** @type {const} */ (['SIGTERM', 'SIGHUP', 'SIGUSR2']);
/** Typed at a terminal these reach every process in the foreground, so the program has them already. */
const TYPED = /** @type {const} */ (['SIGINT', 'SIGQUIT']);

/** A file that is one of this process's descriptors, as a shell's `<(command)` gives it: Node closes it on the way. */
const OWN_DESCRIPTOR = /\/dev\/fd\/|\/proc\/self\/fd\//;

/**
 * Becomes this Node again, with other flags and another environment. Comes back, false, where a process cannot become another one
 * (Windows), may not (Node's permission model), or would lose a file that the arguments name.
 * @param {readonly string[]} nodeArguments
 * @param {Record<string, string | undefined>} env
 * @returns {boolean}
 */
export function becomeNode(nodeArguments, env) {
  if (typeof process.execve !== 'function' || nodeArguments.some((text) => OWN_DESCRIPTOR.test(text))) return false;
  try {
    process.execve(process.execPath, [process.execPath, ...nodeArguments], env);
  } catch {
    // Refused, and this process is what it was.
  }
  return false;
}

/**
 * @param {string} program
 * @param {readonly string[]} programArguments
 * @param {Record<string, string | undefined>} env
 * @param {(problem: string) => void} onProblem called when the program could not be started
 * @returns {Promise<void>}
 */
export async function relaunch(program, programArguments, env, onProblem) {
  const [{ spawn }, { isatty }] = await Promise.all([import('node:child_process'), import('node:tty')]);
  const child = spawn(program, programArguments, { stdio: 'inherit', env });
  const atTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor));
  for (const signal of PASSED_ON) process.on(signal, () => child.kill(signal));
  for (const signal of TYPED) process.on(signal, () => atTerminal || child.kill(signal));
  child.on('error', (error) => onProblem(error.message));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    void endBy(signal);
  });
}

/**
 * Ends this process by the signal that ended the program, so that a shell sees the same status.
 * @param {NodeJS.Signals} signal
 * @returns {Promise<void>}
 */
async function endBy(signal) {
  const { constants } = await import('node:os');
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // Still here: the signal is one that this process ignores. 128 + n is how a shell would report it.
  setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
}
