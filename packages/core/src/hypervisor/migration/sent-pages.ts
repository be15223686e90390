/** What was sent and has arrived, and how fast: bytes that were taken, in the time that some were on their way; what was long ago counts less. */

import type { MigrationTimers } from './ports.ts';

/** Before anything was measured: rather too few, as a machine that stands still waits for what is sent then. */
const FIRST_BYTES_PER_MS = 20_000;
/** Shorter measurements, and those of fewer bytes, say more of how long a message takes than of how many there is room for. */
const SHORTEST_MS = 4;
const FEWEST_BYTES = 256 * 1024;
/**
 * A link that has taken nothing of what is on its way for so long has fallen silent; one that is slow, for as long as so many messages of that size take it.
 */
const SILENT_MS = 1000;
const SILENT_MESSAGES = 4;
/** What counts in full. */
const REMEMBERED_BYTES = 32 * 1024 * 1024;

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
  /** When something was taken last, or began to be on its way. */
  #takenNs = 0;
  #sinceBytes = 0;
  #measuredBytes = 0;
  #measuredMs = 0;

  constructor(clock: MigrationTimers) {
    this.#clock = clock;
  }

  get messagesUnderWay(): number {
    return this.#underWay.length;
  }

  /** Whether nothing has been taken for longer than that can take. */
  get isSilent(): boolean {
    const [first] = this.#underWay;
    if (first === undefined) return false;
    const silentMs = (this.#clock.monotonicNs() - this.#takenNs) / 1e6;
    return silentMs > Math.max(SILENT_MS, (SILENT_MESSAGES * first) / this.bytesPerMs);
  }

  /** A message with pages was sent. */
  sent(bytes: number, pages: number): void {
    if (this.#underWay.length === 0) {
      this.#sinceNs = this.#takenNs = this.#clock.monotonicNs();
      this.#sinceBytes = 0;
    }
    this.#underWay.push(bytes);
    this.bytes += bytes;
    this.pages += pages;
    this.bytesUnderWay += bytes;
  }

  /** Over another link, on which nothing is on its way yet. */
  restart(): void {
    this.#underWay.length = 0;
    this.bytesUnderWay = 0;
    this.#takenNumber = 0;
  }

  /** So many messages with pages have arrived since the beginning. False when that cannot be. */
  taken(count: number): boolean {
    const more = count - this.#takenNumber;
    if (more < 0 || more > this.#underWay.length) return false;
    this.#takenNumber = count;
    this.#takenNs = this.#clock.monotonicNs();
    for (const bytes of this.#underWay.splice(0, more)) {
      this.bytesUnderWay -= bytes;
      this.#sinceBytes += bytes;
    }
    const ms = (this.#clock.monotonicNs() - this.#sinceNs) / 1e6;
    if (ms >= SHORTEST_MS && this.#sinceBytes >= FEWEST_BYTES) this.#measured(ms);
    return true;
  }

  #measured(ms: number): void {
    const before = Math.min(1, REMEMBERED_BYTES / (this.#measuredBytes + this.#sinceBytes));
    this.#measuredBytes = this.#measuredBytes * before + this.#sinceBytes;
    this.#measuredMs = this.#measuredMs * before + ms;
    this.bytesPerMs = Math.max(1, this.#measuredBytes / this.#measuredMs);
    this.#sinceNs = this.#clock.monotonicNs();
    this.#sinceBytes = 0;
  }
}
