/**
 * How long harts could not run although they had something to do: because others had their turn on the same thread, or because the host had
 * other work for its processor. Kept in the guest's memory, where it asked for it (SBI 2.0, chapter 16):
 *
 *     0 u32 sequence, odd while it is written    8 u64 stolen nanoseconds    16 u8 not 0 while the hart is kept from running
 */

import { defined } from '../base/assert.ts';
import { MAX_HARTS } from '../engine/layout.ts';
import type { Clock } from '../base/ports.ts';
import { hostNs } from './allowance.ts';
import type { GuestMemory } from './device.ts';
import type { MachineHart } from './hart.ts';

const SEQUENCE = 0;
const STEAL = 8;
const PREEMPTED = 16;
/** Nanoseconds of execution between two looks at the host's processor time. */
const LOOK_NS = 20_000_000;

/** What is known of harts, by number; of all threads that execute them the same. */
export interface StealBooks {
  /** Since when each is ready and has not run, plus one; 0: it has, or is not. */
  readonly sinceNs: Float64Array;
  /** Not 0: it was told that it is kept from running. */
  readonly isPreempted: Int32Array;
}

/** Who counts all of it, of whatever hart. */
export interface StealTally {
  /** A hart had others before it; a thread with something to do was held back until now; the host had other work. */
  waited(ns: number): void;
  held(ns: number, nowNs: number): void;
  stolen(ns: number): void;
}

export class StealTime {
  readonly #harts: readonly MachineHart[];
  readonly #memory: GuestMemory;
  readonly #clock: Clock;
  readonly #books: StealBooks;
  readonly #tally: StealTally | undefined;
  #running = -1;
  /** Since when nothing is executed though something could be. */
  #heldSinceNs: number | undefined;
  /** Execution since the host's processor time was looked at, and what that was. */
  #executedNs = 0;
  #processorNs: number | undefined;

  /** For `harts`, all of the machine's. */
  constructor(
    harts: readonly MachineHart[],
    memory: GuestMemory,
    clock: Clock,
    tally?: StealTally,
    books: StealBooks = { sinceNs: new Float64Array(MAX_HARTS), isPreempted: new Int32Array(MAX_HARTS) },
  ) {
    this.#harts = harts;
    this.#memory = memory;
    this.#clock = clock;
    this.#books = books;
    this.#tally = tally;
  }

  /** Hart `id` runs from here on; others of `own`, which this thread has, wait for it when they are ready. */
  begin(id: number, nowNs: number, own: readonly number[]): void {
    const { sinceNs, isPreempted } = this.#books;
    const heldNs = this.#heldSinceNs === undefined ? 0 : nowNs - this.#heldSinceNs;
    if (heldNs > 0) this.#tally?.held(heldNs, hostNs(this.#clock));
    this.#heldSinceNs = undefined;
    if (own.length > 1) {
      this.#keepWaiting(own, nowNs, id);
      const before = this.#running;
      if (before !== id && own.includes(before) && sinceNs[before] !== 0) this.#write(before, 0, true);
    }
    const since = sinceNs[id] ?? 0;
    const stolen = since === 0 ? 0 : nowNs - (since - 1);
    sinceNs[id] = 0;
    if (stolen > heldNs) this.#tally?.waited(stolen - heldNs);
    if (stolen > 0 || isPreempted[id] !== 0) this.#write(id, stolen, false);
    this.#running = id;
  }

  /** Nothing of `own` is executed for the time being: the machine may use no more of the host's processors. */
  hold(own: readonly number[], nowNs: number): void {
    this.#keepWaiting(own, nowNs, -1);
    if (!own.some((id) => this.#harts[id]?.runState === 'running')) return;
    if (this.#heldSinceNs !== undefined) this.#tally?.held(nowNs - this.#heldSinceNs, hostNs(this.#clock));
    this.#heldSinceNs = nowNs;
  }

  /** From now on those of `own` that are ready wait, all but `id`. */
  #keepWaiting(own: readonly number[], nowNs: number, id: number): void {
    const { sinceNs } = this.#books;
    for (const each of own)
      if (each !== id && sinceNs[each] === 0 && this.#harts[each]?.runState === 'running') sinceNs[each] = nowNs + 1;
  }

  /** The thread looked for something to do for `ns`: processor time that it used, and no hart. */
  looked(ns: number): void {
    if (this.#processorNs !== undefined) this.#executedNs += ns;
  }

  /** Hart `id` ran for `ns`, of which it waited `idleNs` for a device. */
  end(id: number, ns: number, idleNs = 0): void {
    if (!this.#clock.threadNs) return;
    this.#executedNs += Math.max(0, ns - idleNs);
    this.#processorNs ??= this.#clock.threadNs();
    if (this.#executedNs < LOOK_NS) return;
    const now = this.#clock.threadNs();
    const stolen = this.#executedNs - (now - this.#processorNs);
    this.#processorNs = now;
    this.#executedNs = 0;
    if (stolen <= 0) return;
    this.#tally?.stolen(stolen);
    this.#write(id, stolen, false);
  }

  #write(id: number, stolenNs: number, isPreempted: boolean): void {
    const hart = defined(this.#harts[id], 'a hart');
    this.#books.isPreempted[id] = isPreempted ? 1 : 0;
    const steal = hart.addSteal(stolenNs);
    const at = hart.stealMemory;
    if (at === undefined) return;
    const memory = this.#memory;
    const sequence = memory.load32(at + SEQUENCE) ?? 0;
    memory.store32(at + SEQUENCE, (sequence | 1) >>> 0);
    // Only the hart itself reads it, and it does not run: any order will do.
    memory.store32(at + STEAL, Number(steal & 0xffff_ffffn));
    memory.store32(at + STEAL + 4, Number(steal >> 32n));
    memory.store8(at + PREEMPTED, isPreempted ? 1 : 0);
    memory.store32(at + SEQUENCE, ((sequence | 1) + 1) >>> 0);
  }
}
