/** How `ringfence` ends. Codes of `run` are those that `timeout`, `env` and shells have made usual, so that scripts need not learn ours. */

export const EXIT = {
  OK: 0,
  /** What was asked for could not be done. */
  FAILED: 1,
  /** The command line itself cannot be understood. */
  USAGE: 2,
  /** The time of `--timeout` was over first. */
  TIMEOUT: 124,
  /** The virtual machine could not be started, or ended without the command's exit code. */
  NO_MACHINE: 125,
  /** The guest has the command and cannot run it. */
  CANNOT_RUN: 126,
  /** The guest does not have the command. */
  NO_COMMAND: 127,
} as const;

/** As signal(7) numbers them: what ends a program that writes where nobody reads, and one that is asked to end. */
export const SIGPIPE = 13;
export const SIGTERM = 15;

/** As a shell reports a program that ended by a signal. */
export function exitCodeOfSignal(signal: number): number {
  return 128 + signal;
}
