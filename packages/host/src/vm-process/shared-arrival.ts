/**
 * A machine that comes to the process of its label, where others run. Nothing of it stays there when it does not come; and no page of it may follow: a guest that
 * waits for one stands in the middle of a turn, and so would all of them.
 */

import type { FrameLink } from '../control/frames.ts';
import { HostError } from '../failure.ts';
import type { MachineFolder } from '../machine-folder/layout.ts';
import { readMachine } from '../machine-folder/machine-files.ts';
import type { ArrivingVM } from '../vm/arrival.ts';
import type { VM } from '../vm/vm.ts';
import { writeArrived } from './arrived-note.ts';

/** How long the daemon may take to ask for the machine: one that was killed meanwhile asks no more. */
export const ARRIVE_TIMEOUT_MS = 30_000;

/** What becomes of it; one of both is called, once. */
export interface SharedArrivalOptions {
  readonly runs: (vm: VM) => void;
  /** Nothing is left of it. */
  readonly fails: (error: unknown) => void;
  readonly timeoutMs?: number;
}

export interface ComingMachine {
  readonly id: string;
  readonly folder: MachineFolder;
}

export class SharedArrival {
  readonly #arriving: Pick<ArrivingVM, 'take' | 'abandon'>;
  readonly #machine: ComingMachine;
  readonly #options: SharedArrivalOptions;
  readonly #patience: NodeJS.Timeout;
  #state: 'waits' | 'comes' | 'over' | 'given-up' = 'waits';
  /** Over which it comes. */
  #link: FrameLink | undefined;

  constructor(arriving: Pick<ArrivingVM, 'take' | 'abandon'>, machine: ComingMachine, options: SharedArrivalOptions) {
    this.#arriving = arriving;
    this.#machine = machine;
    this.#options = options;
    this.#patience = setTimeout(() => this.giveUp(), options.timeoutMs ?? ARRIVE_TIMEOUT_MS);
  }

  /** As ServedVM.arrive. */
  async take(migration: string, link: FrameLink): Promise<void> {
    if (this.#state === 'given-up') throw didNotCome();
    if (this.#state !== 'waits') throw new HostError('wrong-state', 'this machine is here already, or on its way');
    clearTimeout(this.#patience);
    [this.#state, this.#link] = ['comes', link];
    const runs = (vm: VM): void => {
      this.#state = 'over';
      this.#options.runs(vm);
    };
    try {
      await this.#arriving.take(link, () => this.#owned(migration), runs);
    } catch (error) {
      if (this.#state === 'comes') {
        this.#state = 'over';
        this.#options.fails(error);
      }
      throw error;
    }
  }

  /** It is to come no more. One that has been handed over already runs all the same. */
  giveUp(): void {
    clearTimeout(this.#patience);
    if (this.#state === 'comes') this.#link?.destroy();
    if (this.#state !== 'waits') return;
    this.#state = 'given-up';
    const fails = (): void => this.#options.fails(didNotCome());
    this.#arriving.abandon().then(fails, fails);
  }

  /** Writes down that it is here. A daemon that could not reach this process for long may have given it up, and its folder to another machine of the label. */
  async #owned(migration: string): Promise<void> {
    const { id, folder } = this.#machine;
    const found = await readMachine(folder).catch(() => undefined);
    if (found?.id !== id) throw didNotCome();
    writeArrived(folder.arrived, migration);
  }
}

function didNotCome(): HostError {
  return new HostError('aborted', 'the machine did not come in time, and is waited for no more');
}
