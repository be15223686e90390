/** Many deadlines over one timer of the host. A deadline that moves costs nothing but a number. */

import type { NetworkTimers } from './host.ts';

/** Deadlines closer together than this are met together, in milliseconds. */
const GRAIN_MS = 5;

export interface Alarmed {
  /** When `alarm` is to be called, in the timers' milliseconds; Infinity for never. */
  readonly deadlineMs: number;
  alarm(nowMs: number): void;
}

export class Alarms {
  readonly #timers: NetworkTimers;
  readonly #all: Iterable<Alarmed>;
  #armedMs = Infinity;
  #cancel: (() => void) | undefined;

  /** `all` is looked through whenever something is due: whatever it holds then. */
  constructor(timers: NetworkTimers, all: Iterable<Alarmed>) {
    this.#timers = timers;
    this.#all = all;
  }

  /** Sees to it that somebody looks at `deadlineMs`. */
  set(deadlineMs: number): void {
    if (deadlineMs >= this.#armedMs) return;
    this.#cancel?.();
    this.#armedMs = deadlineMs;
    this.#cancel = this.#timers.after(Math.max(0, deadlineMs - this.#timers.nowMs()), () => this.#ring());
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#armedMs = Infinity;
  }

  #ring(): void {
    this.#armedMs = Infinity;
    this.#cancel = undefined;
    const nowMs = this.#timers.nowMs();
    for (const each of this.#all) if (each.deadlineMs <= nowMs + GRAIN_MS) each.alarm(nowMs);
    let next = Infinity;
    for (const { deadlineMs } of this.#all) next = Math.min(next, deadlineMs);
    if (next < Infinity) this.set(next);
  }
}
