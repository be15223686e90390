/** Runs a machine until it ends by itself or somebody ends it: the time limit, a signal, the user's keys, a reader that went away. */

import { MachineRunner, type Machine, type RunEnd, type Turns } from '@ringfence/core';
import type { Interruption } from './node/interruption.ts';

export type End =
  | Exclude<RunEnd, { kind: 'stopped' }>
  | { readonly kind: 'timeout' }
  | { readonly kind: 'signal'; readonly number: number }
  /** The user typed Ctrl-A X. */
  | { readonly kind: 'quit' }
  /** The guest's command has ended with this code. */
  | { readonly kind: 'exit'; readonly code: number }
  /** Somebody stopped it from another process. */
  | { readonly kind: 'stopped' }
  /** Nobody takes the output any more; the reason is undefined when its reader just went away. */
  | { readonly kind: 'output'; readonly reason: string | undefined };

export class Supervision {
  /** Settles when somebody asked for the end. */
  readonly asked: Promise<End>;
  #stop: (end: End) => void = () => undefined;
  readonly #timer: NodeJS.Timeout | undefined;

  /** The time limit counts from here. */
  constructor(timeoutMs: number | undefined, interruption: Interruption) {
    this.asked = new Promise((resolve) => {
      this.#stop = resolve;
    });
    if (timeoutMs !== undefined) this.#timer = setTimeout(() => this.end({ kind: 'timeout' }), timeoutMs);
    const onSignal = (): void => this.end({ kind: 'signal', number: interruption.number ?? 0 });
    if (interruption.signal.aborted) onSignal();
    else interruption.signal.addEventListener('abort', onSignal, { once: true });
  }

  /** Asks for the end; the first one to ask is the reason. */
  end(end: End): void {
    this.#stop(end);
  }

  /** Runs the machine until its end; its devices are quiet then. */
  async run(machine: Machine, turns: Turns): Promise<End> {
    const runner = new MachineRunner(machine, turns);
    runner.start();
    const ended = runner.ended.then((end) => (end.kind === 'stopped' ? this.asked : end));
    try {
      return await Promise.race([ended, this.asked]);
    } finally {
      await runner.stop();
    }
  }

  /** No more is to be run. */
  close(): void {
    clearTimeout(this.#timer);
  }
}
