/** What was sent and has arrived, and how fast: bytes between the first that was sent and the last that was taken, over windows of time. */

import type { MigrationTimers } from './ports.ts';

/** Before anything was measured. */
const FIRST_BYTES_PER_MS = 100_000;
/** Shorter measurements say little. */
const SHORTEST_MS = 4;

export class SentPages {
  readonly #clock: MigrationTimers;
  /** Bytes of each message that is on its way. */
  readonly #underWay: number[] = [];
  bytes = 0;
  pages = 0;
  bytesUnderWay = 0;
  bytesPerMs = FIRST_BYTES_PER_MS;
  #takenNumber = 0;
  #sinceNs = 0;
  #sinceBytes = 0;

  constructor(clock: MigrationTimers) {
    this.#clock = clock;
  }

  get messagesUnderWay(): number {
    return this.#underWay.length;
  }

  /** A message with pages was sent. */
  sent(bytes: number, pages: number): void {
    if (this.#underWay.length === 0) {
      this.#sinceNs = this.#clock.monotonicNs();
      this.#sinceBytes = 0;
    }
    this.#underWay.push(bytes);
    this.bytes += bytes;
    this.pages += pages;
    this.bytesUnderWay += bytes;
  }

  /** So many messages with pages have arrived since the beginning. False when that cannot be. */
  taken(count: number): boolean {
    const more = count - this.#takenNumber;
    if (more < 0 || more > this.#underWay.length) return false;
    this.#takenNumber = count;
    for (const bytes of this.#underWay.splice(0, more)) {
      this.bytesUnderWay -= bytes;
      this.#sinceBytes += bytes;
    }
    const ms = (this.#clock.monotonicNs() - this.#sinceNs) / 1e6;
    if (ms >= SHORTEST_MS) this.bytesPerMs = Math.max(1, this.#sinceBytes / ms);
    return true;
  }
}
