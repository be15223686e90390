/**
 * A guest that writes faster than the link carries is slowed down: it runs and stands still in turns. How long it stands still follows from how long it ran,
 * as that is not to be had exactly:
 *
 *     runs 1.5 ms ── stands `STANDS[step]` times as long as it ran, LONGEST_STAND_MS at most ── runs ...
 */

import type { MigrationTimers } from './ports.ts';

const RUN_MS = 1.5;
/** Of each step: a guest that stands still at once has 50, 25, 11 and 7 % of its time. */
const STANDS: readonly number[] = [1, 3, 8, 20];
/** What it sees of it, at once. */
const LONGEST_STAND_MS = 20;

export interface ThrottledGuest {
  stand(): Promise<void>;
  resume(): void;
}

export class GuestThrottle {
  readonly #clock: MigrationTimers;
  readonly #guest: ThrottledGuest;
  #step = 0;
  #isOn = false;
  #turns: Promise<void> = Promise.resolve();

  constructor(clock: MigrationTimers, guest: ThrottledGuest) {
    this.#clock = clock;
    this.#guest = guest;
  }

  get isSlowest(): boolean {
    return this.#step === STANDS.length;
  }

  /** By a step, or by all of them. */
  slower(byAll: boolean): void {
    this.#step = byAll ? STANDS.length : Math.min(this.#step + 1, STANDS.length);
  }

  /** It runs, and from now on in turns, until `end`. */
  begin(): void {
    const times = STANDS[this.#step - 1];
    if (times === undefined) return;
    this.#isOn = true;
    this.#turns = this.#takeTurns(times);
    this.#turns.catch(() => undefined);
  }

  /** Resolves when it stays as it is then, running or not; rejects when it cannot be had stand still. */
  async end(): Promise<void> {
    this.#isOn = false;
    await this.#turns;
  }

  async #takeTurns(times: number): Promise<void> {
    const clock = this.#clock;
    while (this.#isOn) {
      const runsSinceNs = clock.monotonicNs();
      await clock.sleep(RUN_MS);
      if (!this.#isOn) return;
      await this.#guest.stand();
      const ranMs = (clock.monotonicNs() - runsSinceNs) / 1e6;
      await clock.sleep(Math.min(ranMs * times, LONGEST_STAND_MS));
      if (!this.#isOn) return;
      this.#guest.resume();
    }
  }
}
