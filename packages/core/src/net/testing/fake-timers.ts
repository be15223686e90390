/** Time that stands still until a test moves it. */

import type { NetworkTimers } from '../host.ts';

export class FakeTimers implements NetworkTimers {
  #nowMs = 1000;
  #next = 0;
  readonly #alarms = new Map<number, { readonly atMs: number; readonly callback: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const id = this.#next++;
    this.#alarms.set(id, { atMs: this.#nowMs + delayMs, callback });
    return () => void this.#alarms.delete(id);
  }

  /** Alarms that are set. */
  get size(): number {
    return this.#alarms.size;
  }

  /** When the next alarm is due; Infinity when none is. */
  get nextMs(): number {
    return Math.min(Infinity, ...Array.from(this.#alarms.values(), ({ atMs }) => atMs));
  }

  /** Lets time pass, and rings what becomes due, in its order. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#alarms].toSorted(([, a], [, b]) => a.atMs - b.atMs)[0];
      if (due === undefined || due[1].atMs > endMs) break;
      this.#alarms.delete(due[0]);
      this.#nowMs = Math.max(this.#nowMs, due[1].atMs);
      due[1].callback();
    }
    this.#nowMs = endMs;
  }
}
