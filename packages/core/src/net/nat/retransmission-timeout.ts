/** How long to wait for an acknowledgement (RFC 6298): measured round trips, doubled with every time it was too short. */

/** Before anything was measured, and the least there is (2.1, 2.4), in milliseconds. */
export const MINIMUM_TIMEOUT_MS = 1000;
export const MAXIMUM_TIMEOUT_MS = 60_000;

export class RetransmissionTimeout {
  #smoothedMs: number | undefined;
  #variationMs = 0;
  #timeoutMs = MINIMUM_TIMEOUT_MS;
  /** The octet whose acknowledgement is being timed, and since when. */
  #timed: { readonly sequence: number; readonly sinceMs: number } | undefined;

  get timeoutMs(): number {
    return this.#timeoutMs;
  }

  /** Data up to `sequence` was sent for the first time. */
  sent(sequence: number, nowMs: number): void {
    this.#timed ??= { sequence, sinceMs: nowMs };
  }

  /** Everything up to `sequence` was acknowledged. */
  acknowledged(sequence: number, nowMs: number): void {
    const timed = this.#timed;
    if (timed === undefined || ((sequence - timed.sequence) | 0) < 0) return;
    this.#timed = undefined;
    const measuredMs = nowMs - timed.sinceMs;
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = measuredMs;
      this.#variationMs = measuredMs / 2;
    } else {
      this.#variationMs = 0.75 * this.#variationMs + 0.25 * Math.abs(this.#smoothedMs - measuredMs);
      this.#smoothedMs = 0.875 * this.#smoothedMs + 0.125 * measuredMs;
    }
    const timeoutMs = this.#smoothedMs + 4 * this.#variationMs;
    this.#timeoutMs = Math.min(MAXIMUM_TIMEOUT_MS, Math.max(MINIMUM_TIMEOUT_MS, timeoutMs));
  }

  /** It was too short. What is sent again tells nothing about round trips (Karn's algorithm, 3). */
  expired(): void {
    this.#timed = undefined;
    this.#timeoutMs = Math.min(MAXIMUM_TIMEOUT_MS, 2 * this.#timeoutMs);
  }
}
