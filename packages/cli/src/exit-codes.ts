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
} as const;

/** SIGPIPE, as signal(7) numbers it: what ends a program that writes where nobody reads. */
export const SIGPIPE = 13;

/** As a shell reports a program that ended by a signal. */
export function exitCodeOfSignal(signal: number): number {
  return 128 + signal;
}
