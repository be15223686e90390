/**
 * A guest that writes faster than the link carries is slowed down: it runs and stands still in turns, so that it sees of it at once no more than one turn:
 *
 *     stands still `standMs` ── runs `runMs`, or until it has written PART of what was sent meanwhile ── stands still ...
 *
 * Whoever ends that finds it standing still, right after it has run: what it wrote then is all that is not sent yet. While the link is silent it runs as
 * if nothing were: nobody knows for how long.
 */

import type { MigrationTimers } from './ports.ts';

/** 50, 20, 11 and 8 % of its time at the most. */
const STEPS: readonly { readonly runMs: number; readonly standMs: number }[] = [
  { runMs: 1, standMs: 1 },
  { runMs: 1, standMs: 4 },
  { runMs: 1, standMs: 8 },
  { runMs: 1, standMs: 12 },
];
/**
 * It runs for so long at once. One that writes a word to each of its pages has written a thousand and more of them in a millisecond, and so is held when it has
 * written enough; one that comes to little in it, as its translations were forgotten, has it all.
 */
const PIECE_MS = 0.125;
/** Of what the link carries while it stands still. */
const PART = 0.15;

/** Between two times that it is looked whether the link is silent still. */
const LOOK_MS = 20;

export interface ThrottledGuest {
  stand(): Promise<void>;
  /** It runs, until `stand`. */
  resume(): void;
  /** It stands still, runs for about so long, and stands still again. Resolves with how many pages it wrote. */
  run(ms: number): Promise<number>;
  /** What the link carries. */
  pagesPerMs(): number;
  /** Whether it carries nothing now. */
  isSilent(): boolean;
}

export class GuestThrottle {
  readonly #clock: Pick<MigrationTimers, 'sleep'>;
  readonly #guest: ThrottledGuest;
  #step = 0;
  #isOn = false;
  #turns: Promise<void> = Promise.resolve();
  /** Resolves when nobody wants it slowed down any more. */
  #ending = Promise.withResolvers<void>();

  constructor(clock: Pick<MigrationTimers, 'sleep'>, guest: ThrottledGuest) {
    this.#clock = clock;
    this.#guest = guest;
  }

  /** Whether it has to be slowed down. */
  get isNeeded(): boolean {
    return this.#step > 0;
  }

  get isSlowest(): boolean {
    return this.#step === STEPS.length;
  }

  /** By a step, or by all of them. */
  slower(byAll: boolean): void {
    this.#step = byAll ? STEPS.length : Math.min(this.#step + 1, STEPS.length);
  }

  /** From now on it runs in turns, until `end`, if it has to be slowed down. */
  begin(): void {
    const step = STEPS[this.#step - 1];
    if (step === undefined || this.#isOn) return;
    this.#isOn = true;
    this.#ending = Promise.withResolvers();
    this.#turns = this.#takeTurns(step);
    this.#turns.catch(() => undefined);
  }

  /** Resolves when it stands still, where it was slowed down; rejects when it could not be had stand still. */
  async end(): Promise<void> {
    this.#isOn = false;
    this.#ending.resolve();
    await this.#turns;
  }

  async #takeTurns({ runMs, standMs }: (typeof STEPS)[number]): Promise<void> {
    await this.#guest.stand();
    do {
      await this.#pause(standMs);
      if (this.#guest.isSilent()) await this.#runFreely();
      await this.#run(runMs, PART * standMs * this.#guest.pagesPerMs());
    } while (this.#isOn);
  }

  /** Until the link is not silent any more. */
  async #runFreely(): Promise<void> {
    this.#guest.resume();
    while (this.#isOn && this.#guest.isSilent()) await this.#pause(LOOK_MS);
    await this.#guest.stand();
  }

  /** For less when nobody wants it slowed down any more. */
  async #pause(ms: number): Promise<void> {
    await Promise.race([this.#clock.sleep(ms), this.#ending.promise]);
  }

  async #run(ms: number, pages: number): Promise<void> {
    for (let [ran, written] = [0, 0]; ran < ms && written < pages; ran += PIECE_MS)
      written += await this.#guest.run(PIECE_MS);
  }
}
