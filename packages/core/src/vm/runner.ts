/**
 * Drives a machine on a host with an event loop: runs it in short turns, lets the host's own events in between, and sleeps while
 * every hart waits.
 *
 *     run --idle--> look, look, look (while waits were short lately) --> sleep until a timer or `onWake`
 *      ^------------------------ onWake ------------------------------------'
 */

import type { Ending } from '../machine/ending.ts';
import type { Machine } from '../machine/machine.ts';

/** The host's event loop. */
export interface Turns {
  /** Calls back in a turn of its own, as soon as other events had theirs. */
  soon(callback: () => void): void;
  /** Calls back once, after about `delayMs`; gives a function that cancels it. */
  after(delayMs: number, callback: () => void): () => void;
  /** Monotonic nanoseconds. Without it a machine sleeps as soon as it has nothing to do. */
  nowNs?(): number;
}

/**
 * Milliseconds of execution between two looks at the host's events: what a disk or a socket has for a busy guest waits half as long. A look
 * costs some microseconds.
 */
const TURN_MS = 1;
/** The same where machines share a memory domain: to go from one to another costs the translations that the first had looked up. */
const SHARED_TURN_MS = 10;
/** Shorter waits than a host timer can make are spent looking again and again, and so is what is left when it was early. */
const SHORTEST_SLEEP_MS = 1;
/**
 * But for a guest that waits longer than this, or has done so lately: it is up to a millisecond late, and sleeps for all of its wait. A thousand idle ones would
 * look for half a millisecond each, several times a second.
 */
export const CALM_NS = 8e6;
/** Of its last wait this is remembered, and half of it after each shorter one: it is on time again after four. */
const CALMEST_NS = 8 * CALM_NS;
/**
 * To be put to sleep and woken costs a thread some 50 us, of which it sees nothing as long as it looks for events. A machine whose last wait was
 * no longer than LONGEST_LOOK_NS, because an answer from the network was on its way, looks for twice as long the next time, from
 * SHORTEST_LOOK_NS on; one that waited longer looks for half as long, and soon not at all: an idle guest costs nothing.
 */
export const LONGEST_LOOK_NS = 150_000;
const SHORTEST_LOOK_NS = 20_000;
/** Timers of hosts do not take more than this. */
const LONGEST_SLEEP_MS = 60_000;

/** How a run came to its end: by the guest, or from outside. */
export type RunEnd = Ending | { readonly kind: 'stopped' };

/** What is asked of a machine. */
export type RunnableMachine = Pick<Machine, 'run' | 'onWake' | 'quiesce' | 'resume' | 'isAmongOthers'>;

export class MachineRunner {
  /** Settles when the machine has ended or was stopped; rejects when Ringfence itself failed. */
  readonly ended: Promise<RunEnd>;
  readonly #machine: RunnableMachine;
  readonly #turns: Turns;
  #resolve: (end: RunEnd) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #state: 'new' | 'scheduled' | 'sleeping' | 'paused' | 'ended' = 'new';
  #cancelSleep: (() => void) | undefined;
  /** For how long it looks for events before it sleeps, and since when it has nothing to do. */
  #lookNs = 0;
  #idleSinceNs = 0;
  #calmNs = 0;
  /** Counts times of idleness, so that a look of an earlier one is known. */
  #idleness = 0;

  constructor(machine: RunnableMachine, turns: Turns) {
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

  /** Whether the machine waits for something to happen. */
  get isIdle(): boolean {
    return this.#state === 'sleeping';
  }

  /**
   * Lets the machine stand still from between two turns on; resolves when its devices are quiet, and nothing of it changes then until
   * `resume`. The clock that the machine was given goes on unless who gave it stops it. False when it does not run.
   */
  async pause(): Promise<boolean> {
    if (this.#state !== 'scheduled' && this.#state !== 'sleeping') return false;
    this.#cancelSleep?.();
    this.#state = 'paused';
    await this.#machine.quiesce();
    return this.isPaused;
  }

  /** Lets a paused machine go on, whose `pause` has resolved. */
  resume(): void {
    if (!this.isPaused) return;
    this.#machine.resume();
    this.#schedule();
  }

  /**
   * Lets a machine that stands still run for about so long, which may be less than a turn, and has it stand still again; resolves when its devices are quiet.
   * False when it does not run any more.
   */
  async runFor(ms: number): Promise<boolean> {
    if (!this.isPaused) return false;
    try {
      this.#machine.resume();
      const progress = this.#machine.run(ms);
      if (progress.kind === 'ended') this.#finish(progress.ending);
    } catch (error) {
      this.#state = 'ended';
      this.#reject(error);
    }
    await this.#machine.quiesce();
    return this.isPaused;
  }

  /** Ends the run from outside, between two turns; resolves when devices are quiet. */
  async stop(): Promise<void> {
    this.#finish({ kind: 'stopped' });
    await this.#machine.quiesce();
  }

  /** Ends the run as one that Ringfence cannot go on with. */
  fail(error: Error): void {
    if (this.#state === 'ended') return;
    this.#reject(error);
    this.#finish({ kind: 'stopped' });
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
      else if (progress.kind === 'busy') this.#schedule();
      else {
        const { dueInNs } = progress;
        const isCalm = Math.max(this.#calmNs, dueInNs) >= CALM_NS;
        if (dueInNs < (isCalm ? 1 : SHORTEST_SLEEP_MS * 1e6)) return this.#schedule();
        this.#state = 'sleeping';
        this.#idleness++;
        this.#idleSinceNs = this.#turns.nowNs?.() ?? 0;
        this.#look(this.#idleness, Math.min(LONGEST_SLEEP_MS, (isCalm ? Math.ceil : Math.floor)(dueInNs / 1e6)));
      }
    } catch (error) {
      this.#state = 'ended';
      this.#reject(error);
    }
  }

  /** Looks for events again and again, and sleeps when none came for long enough. */
  #look(idleness: number, sleepMs: number): void {
    if (this.#state !== 'sleeping' || this.#idleness !== idleness) return;
    const idleNs = this.#idleNs() ?? 0;
    if (idleNs < this.#lookNs) this.#turns.soon(() => this.#look(idleness, sleepMs));
    else this.#cancelSleep = this.#turns.after(Math.max(0, sleepMs - Math.floor(idleNs / 1e6)), () => this.#wake());
  }

  #idleNs(): number | undefined {
    const nowNs = this.#turns.nowNs?.();
    return nowNs === undefined ? undefined : nowNs - this.#idleSinceNs;
  }

  #wake(): void {
    if (this.#state !== 'sleeping') return;
    this.#cancelSleep?.();
    this.#cancelSleep = undefined;
    const idleNs = this.#idleNs();
    this.#calmNs = Math.min(CALMEST_NS, Math.max(idleNs ?? 0, this.#calmNs / 2));
    if ((idleNs ?? Infinity) <= LONGEST_LOOK_NS)
      this.#lookNs = Math.min(LONGEST_LOOK_NS, Math.max(SHORTEST_LOOK_NS, 2 * this.#lookNs));
    else this.#lookNs = this.#lookNs > SHORTEST_LOOK_NS ? this.#lookNs / 2 : 0;
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
