/** Charges a machine's allowance with the processor time that this thread, or a process of the machine's own, has used. */

import type { Clock } from '../base/ports.ts';
import type { Allowance } from './allowance.ts';

/** Nanoseconds between two looks at the host's processor time. */
const LOOK_NS = 1_000_000;

export class ProcessorMeter {
  readonly #allowance: Allowance;
  readonly #clock: Clock;
  #beforeNs: number | undefined;
  #lookedNs = 0;

  constructor(allowance: Allowance, clock: Clock) {
    this.#allowance = allowance;
    this.#clock = clock;
  }

  /** What this thread does in `work`, until about `endNs`, is the machine's. */
  during<T>(endNs: number, work: () => T): T {
    this.#beforeNs = this.#allowance.isLimited && this.#clock.processNs === undefined ? this.#threadNs() : undefined;
    const result = work();
    this.look(endNs, true);
    return result;
  }

  /** All that this thread has done since the last look is the machine's; with `always` it is looked at even when that is little. */
  look(nowNs: number, always = false): void {
    if (!this.#allowance.isLimited) {
      this.#beforeNs = undefined;
      return;
    }
    if (!always && nowNs - this.#lookedNs < LOOK_NS) return;
    this.#lookedNs = nowNs;
    const processNs = this.#clock.processNs?.();
    if (processNs !== undefined) return this.#allowance.chargeUpTo(processNs);
    const now = this.#threadNs();
    if (this.#beforeNs !== undefined) this.#allowance.charge(now - this.#beforeNs);
    this.#beforeNs = now;
  }

  #threadNs(): number {
    return this.#clock.threadNs?.() ?? this.#clock.monotonicNs();
  }
}
