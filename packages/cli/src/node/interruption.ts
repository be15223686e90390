/** The signals by which somebody ends this process: the first one asks everything under way to end cleanly, the second one ends it at once. */

import process from 'node:process';
import { exitCodeOfSignal } from '../exit-codes.ts';
import { SIGNALS } from './signals.ts';

export interface Interruption {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** The number of the signal that came. */
  readonly number: number | undefined;
}

export function listenForSignals(): Interruption {
  const controller = new AbortController();
  let number: number | undefined;
  for (const [name, signal] of SIGNALS) {
    process.on(name, () => {
      if (number !== undefined) process.exit(exitCodeOfSignal(number));
      number = signal;
      controller.abort();
    });
  }
  return {
    signal: controller.signal,
    get number() {
      return number;
    },
  };
}
