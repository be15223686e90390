/**
 * When a router says unasked that it is there (RFC 4861, 6.2.4): guests ask once, when they start, and forget a router that they hear nothing more of.
 */

import type { Alarmed, Alarms } from './alarms.ts';

/** Between two advertisements to all: MaxRtrAdvInterval, of which there may be no more than 1800 s (RFC 4861, 6.2.1). */
export const ADVERTISEMENT_INTERVAL_MS = 600_000;

export class RouterAlarm implements Alarmed {
  deadlineMs = Infinity;
  readonly #advertise: () => void;

  constructor(advertise: () => void) {
    this.#advertise = advertise;
  }

  /** From now on, by these alarms. */
  start(alarms: Alarms, nowMs: number): void {
    if (this.deadlineMs < Infinity) return;
    this.deadlineMs = nowMs + ADVERTISEMENT_INTERVAL_MS;
    alarms.set(this.deadlineMs);
  }

  /** Nobody is there to hear it. */
  stop(alarms: Alarms): void {
    this.deadlineMs = Infinity;
    alarms.stop();
  }

  alarm(nowMs: number): void {
    this.deadlineMs = nowMs + ADVERTISEMENT_INTERVAL_MS;
    this.#advertise();
  }
}
