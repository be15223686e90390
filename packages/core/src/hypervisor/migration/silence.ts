/** The other end of a link that says nothing while somebody is kept waiting for it: a link may fall silent without being lost for many minutes. */

import type { MigrationTimers } from './ports.ts';

/** How long it may say nothing. */
export const MAXIMUM_SILENCE_MS = 10_000;
const LOOK_MS = 500;

export class Silence {
  readonly #clock: MigrationTimers;
  /** Since when it is waited for; undefined when it is not. */
  #sinceNs: number | undefined;
  #isOver = false;

  constructor(clock: MigrationTimers) {
    this.#clock = clock;
  }

  /** Waits for what `work` waits for. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#sinceNs = this.#clock.monotonicNs();
    try {
      return await work;
    } finally {
      this.#sinceNs = undefined;
    }
  }

  /** It says something. */
  heard(): void {
    if (this.#sinceNs !== undefined) this.#sinceNs = this.#clock.monotonicNs();
  }

  /** Looks until `end`; calls `tooLong` when it is silent for too long since when this matters, which it does not where that is undefined. */
  async watch(mattersSinceNs: () => number | undefined, tooLong: () => void): Promise<void> {
    for (; !this.#isOver; await this.#clock.sleep(LOOK_MS)) {
      const sinceNs = Math.max(this.#sinceNs ?? Infinity, mattersSinceNs() ?? Infinity);
      if (this.#clock.monotonicNs() - sinceNs > MAXIMUM_SILENCE_MS * 1e6) tooLong();
    }
  }

  end(): void {
    this.#isOver = true;
  }
}
