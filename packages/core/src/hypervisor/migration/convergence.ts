/**
 * After each round of memory: whether the machine stands still now until it runs at the other end, has another round, pages that follow, or stays; and how
 * much a guest is slowed down meanwhile that writes too fast.
 *
 *     what is left fits into the downtime, but for what the hand-over takes of it --> stand
 *     it does not, and is hardly less than before, of a guest that is as slow as it gets --> stand for longer, let pages follow, or never
 *     otherwise --> another round, of a guest that is slowed down by another step where it writes too fast
 */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { GuestThrottle } from './guest-throttle.ts';

/** How long a machine may stand still, unless somebody says otherwise. */
export const DOWNTIME_MS = 20;
/** Rounds before it is decided what happens with a guest that writes too fast. */
export const MAXIMUM_ROUNDS = 24;
/**
 * What is added to the rest's time on the link: standing still, state of devices, what the other end opens, and that it is kept whose the machine is. Of a
 * downtime that is shorter than twice that, half is the rest's.
 */
const HAND_OVER_MS = 12;
/** A round that is not smaller than this part of the one before does not converge: the guest is slowed down by a step. */
const CONVERGING = 0.7;
/** A guest that writes faster than this part of what the link carries is not caught up with in a few rounds. */
const LIKE_THE_LINK = 0.3;
/** A round that is not even smaller than this holds all that the guest writes to, again and again: it is slowed down by all steps at once. */
const HOPELESS = 0.9;
/** How long a machine may stand still in the end, where slowing it down does not bring it under the downtime that is allowed. */
export const LONGEST_STAND_MS = 3000;
/** So many rounds as large as the one before, of a guest that cannot be slowed down any more, are enough. */
const HOPELESS_ROUNDS = 3;
/** For so many times that downtime it rather stands still than that there are more rounds of which each is hardly smaller, or that pages follow, where they may. */
const RATHER_THAN_ROUNDS = 3;
const RATHER_THAN_FOLLOW = 10;

export interface ConvergenceOptions {
  readonly downtimeMs?: number | undefined;
  readonly rounds?: number | undefined;
  /** Whether pages may follow when the machine runs there. */
  readonly mayFollow: boolean;
}

/** What was seen when the machine stood still after a round. */
export interface SeenRound {
  readonly pages: number;
  readonly diskBytes: number;
  /** Of the link. */
  readonly bytesPerMs: number;
  readonly tookMs: number;
}

export class Convergence {
  readonly #throttle: Pick<GuestThrottle, 'isSlowest' | 'slower'>;
  readonly #downtimeMs: number;
  readonly #handOverMs: number;
  readonly #mostRounds: number;
  readonly #mayFollow: boolean;
  readonly #longestStandMs: number;
  #last: number;
  #rounds = 0;
  #hopeless = 0;

  /** `pages` are those of the first round. */
  constructor(
    throttle: Pick<GuestThrottle, 'isSlowest' | 'slower'>,
    pages: number,
    { downtimeMs = DOWNTIME_MS, rounds = MAXIMUM_ROUNDS, mayFollow }: ConvergenceOptions,
  ) {
    this.#throttle = throttle;
    this.#last = pages;
    this.#downtimeMs = downtimeMs;
    this.#handOverMs = Math.min(HAND_OVER_MS, downtimeMs / 2);
    this.#mostRounds = rounds;
    this.#mayFollow = mayFollow;
    this.#longestStandMs = mayFollow ? Math.min(downtimeMs * RATHER_THAN_FOLLOW, LONGEST_STAND_MS) : LONGEST_STAND_MS;
  }

  after({ pages, diskBytes, bytesPerMs, tookMs }: SeenRound): 'stand' | 'round' | 'follow' | 'never' {
    this.#rounds++;
    const neededMs = (pages * PAGE_SIZE + diskBytes) / bytesPerMs + this.#handOverMs;
    if (neededMs <= this.#downtimeMs) return 'stand';
    const throttle = this.#throttle;
    const part = pages / this.#last;
    this.#last = pages;
    // What a round sent is written again before it is over: another one would be as long as this one.
    const written = (pages * PAGE_SIZE) / tookMs / bytesPerMs;
    if (throttle.isSlowest && part > HOPELESS) this.#hopeless++;
    const isLast = this.#rounds >= this.#mostRounds || this.#hopeless >= HOPELESS_ROUNDS;
    const isSlow = throttle.isSlowest && part > CONVERGING;
    const standsMs = isLast || this.#mayFollow ? this.#longestStandMs : this.#downtimeMs * RATHER_THAN_ROUNDS;
    if (isLast || isSlow) {
      if (neededMs <= standsMs) return 'stand';
      // Disks do not follow: what is left of them is sent while the machine stands still.
      if (this.#mayFollow && diskBytes / bytesPerMs <= LONGEST_STAND_MS) return 'follow';
      if (isLast) return 'never';
    }
    if (part > CONVERGING || written > LIKE_THE_LINK) throttle.slower(part > HOPELESS || written > HOPELESS);
    return 'round';
  }

  /** While a round is being sent, `pages` were written within so long: a guest that writes as fast as the link carries is slowed down at once. True when it is. */
  during(pages: number, tookMs: number, bytesPerMs: number): boolean {
    if ((pages * PAGE_SIZE) / tookMs / bytesPerMs <= HOPELESS) return false;
    this.#throttle.slower(true);
    return true;
  }
}
