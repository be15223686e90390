/** Notices that the host's wall clock has jumped against its monotonic one: it was set, or the host was asleep. */

import type { AgentWorld } from './guest-agent.ts';
import { CLOCK_JUMP_NS, CLOCK_WATCH_MS } from './limits.ts';

export class TimeWatch {
  readonly #world: AgentWorld;
  readonly #jumped: () => void;
  #difference: bigint;
  #cancel: () => void = () => {};

  constructor(world: AgentWorld, jumped: () => void) {
    this.#world = world;
    this.#jumped = jumped;
    this.#difference = this.#now();
    this.#watch();
  }

  close(): void {
    this.#cancel();
  }

  #now(): bigint {
    return this.#world.clock.wallNs() - BigInt(this.#world.clock.monotonicNs());
  }

  #watch(): void {
    this.#cancel = this.#world.timers.after(CLOCK_WATCH_MS, () => {
      const now = this.#now();
      const jump = now - this.#difference;
      this.#watch();
      if (jump < CLOCK_JUMP_NS && jump > -CLOCK_JUMP_NS) return;
      this.#difference = now;
      this.#jumped();
    });
  }
}
