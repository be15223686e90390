/** The page's hold on one machine: a worker of its own, which is ended with it. */

import type { FromMachine, TerminalSize, ToMachine } from '../protocol.ts';
import type { Settings } from '../settings.ts';

export class MachineWorker {
  readonly #worker = new Worker(new URL('../worker/main.ts', import.meta.url), { type: 'module' });

  constructor(settings: Settings, terminal: TerminalSize, hear: (message: FromMachine) => void) {
    this.#worker.addEventListener('message', ({ data }: MessageEvent<FromMachine>) => hear(data));
    this.#worker.addEventListener('error', ({ message }) => {
      // Without a message it is the script itself that did not come.
      const reason = message === undefined ? 'it could not be loaded; is the server still running?' : message;
      hear({ kind: 'failed', message: `The worker of the machine failed: ${reason}` });
    });
    this.send({ kind: 'start', settings, terminal });
  }

  send(message: ToMachine): void {
    this.#worker.postMessage(message);
  }

  /** Ends it at once, whatever it does. */
  end(): void {
    this.#worker.terminate();
  }
}
