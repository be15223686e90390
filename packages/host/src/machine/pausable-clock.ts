/** The clock of a machine that can stand still: while the machine is paused, no time passes for it. Its wall clock is the world's and goes on. */

import type { Clock } from '@ringfence/core';
import { nodeClock } from './ports.ts';

export class PausableClock implements Clock {
  /** How long it has stood still in all, in ns, for threads that read the host's time themselves (pcpus.ts). */
  readonly stoodNs = new BigInt64Array(new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT));
  readonly processNs: (() => number) | undefined;
  readonly #world: Clock;
  #stoodNs = 0;
  #stoppedAtNs: number | undefined;

  constructor(world: Clock = nodeClock) {
    this.#world = world;
    this.processNs = world.processNs && (() => world.processNs?.() ?? 0);
  }

  monotonicNs(): number {
    return (this.#stoppedAtNs ?? this.#world.monotonicNs()) - this.#stoodNs;
  }

  hostNs(): number {
    return this.#world.monotonicNs();
  }

  wallNs(): bigint {
    return this.#world.wallNs();
  }

  threadNs(): number {
    return this.#world.threadNs?.() ?? 0;
  }

  /** Stops it; does nothing to one that stands. */
  stop(): void {
    this.#stoppedAtNs ??= this.#world.monotonicNs();
  }

  /** Lets it go on from where it stands. No thread may read the time meanwhile. */
  go(): void {
    if (this.#stoppedAtNs === undefined) return;
    this.#stoodNs += this.#world.monotonicNs() - this.#stoppedAtNs;
    this.#stoppedAtNs = undefined;
    Atomics.store(this.stoodNs, 0, BigInt(this.#stoodNs));
  }
}
