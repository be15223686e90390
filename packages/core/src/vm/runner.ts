/**
 * Drives a machine on a host with an event loop: runs it in short turns, lets the host's own events in between, and sleeps while
 * every hart waits.
 */

import type { Ending } from '../machine/ending.ts';
import type { Machine } from '../machine/machine.ts';

/** The host's event loop. */
export interface Turns {
  /** Calls back in a turn of its own, as soon as other events had theirs. */
  soon(callback: () => void): void;
  /** Calls back once, after about `delayMs`; gives a function that cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

/**
 * Milliseconds of execution between two looks at the host's events: what a disk or a socket has for a busy guest waits half as long. A look
 * costs some microseconds.
 */
const TURN_MS = 1;
/** The same where machines share a memory domain: to go from one to another costs the translations that the first had looked up. */
const SHARED_TURN_MS = 5;
/** Shorter waits than a host timer can make are spent looking again and again. */
const SHORTEST_SLEEP_MS = 1;
/** Timers of hosts do not take more than this. */
const LONGEST_SLEEP_MS = 60_000;

/** How a run came to its end: by the guest, or from outside. */
export type RunEnd = Ending | { readonly kind: 'stopped' };

export class MachineRunner {
  /** Settles when the machine has ended or was stopped; rejects when Ringfence itself failed. */
  readonly ended: Promise<RunEnd>;
  readonly #machine: Machine;
  readonly #turns: Turns;
  #resolve: (end: RunEnd) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #state: 'new' | 'scheduled' | 'sleeping' | 'paused' | 'ended' = 'new';
  #cancelSleep: (() => void) | undefined;

  constructor(machine: Machine, turns: Turns) {
    this.#machine = machine;
    this.#turns = turns;
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  start(): void {
    if (this.#state !== 'new') return;
    this.#machine.onWake = () => this.#wake();
    this.#schedule();
  }

  get isPaused(): boolean {
    return this.#state === 'paused';
  }

  /**
   * Lets the machine stand still from between two turns on; resolves when its devices are quiet, and nothing of it changes then until
   * `resume`. The clock that the machine was given goes on unless who gave it stops it. Does nothing to one that does not run.
   */
  async pause(): Promise<void> {
    if (this.#state !== 'scheduled' && this.#state !== 'sleeping') return;
    this.#cancelSleep?.();
    this.#state = 'paused';
    await this.#machine.quiesce();
  }

  /** Lets a paused machine go on, whose `pause` has resolved. */
  resume(): void {
    if (this.#state !== 'paused') return;
    this.#machine.resume();
    this.#schedule();
  }

  /** Ends the run from outside, between two turns; resolves when devices are quiet. */
  async stop(): Promise<void> {
    this.#finish({ kind: 'stopped' });
    await this.#machine.quiesce();
  }

  #schedule(): void {
    this.#state = 'scheduled';
    this.#turns.soon(() => this.#turn());
  }

  #turn(): void {
    if (this.#state !== 'scheduled') return;
    try {
      const progress = this.#machine.run(this.#machine.isAmongOthers ? SHARED_TURN_MS : TURN_MS);
      if (progress.kind === 'ended') this.#finish(progress.ending);
      else if (progress.kind === 'busy' || progress.dueInNs < SHORTEST_SLEEP_MS * 1e6) this.#schedule();
      else {
        this.#state = 'sleeping';
        this.#cancelSleep = this.#turns.after(Math.min(LONGEST_SLEEP_MS, Math.floor(progress.dueInNs / 1e6)), () =>
          this.#wake(),
        );
      }
    } catch (error) {
      this.#state = 'ended';
      this.#reject(error);
    }
  }

  #wake(): void {
    if (this.#state !== 'sleeping') return;
    this.#cancelSleep?.();
    this.#schedule();
  }

  #finish(end: RunEnd): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#cancelSleep?.();
    this.#machine.onWake = undefined;
    this.#resolve(end);
  }
}
