/**
 * Notices that an agent says nothing any more while something is under way. Beats are counted and not the time between them: a host that was asleep, or
 * had no time for its machine, has had no time for beats either.
 */

import type { AgentWorld } from './guest-agent.ts';
import { HEARTBEAT_MS, MAXIMUM_MISSED_HEARTBEATS } from './limits.ts';

export interface HeartbeatParts {
  /** Whether a process or a copy is under way. */
  readonly isBusy: () => boolean;
  /** Asks for a sign of life. */
  readonly ask: () => void;
  readonly stopped: () => void;
}

export class Heartbeat {
  readonly #world: AgentWorld;
  readonly #parts: HeartbeatParts;
  #missed = 0;
  #cancel: () => void = () => {};

  constructor(world: AgentWorld, parts: HeartbeatParts) {
    this.#world = world;
    this.#parts = parts;
    this.#wait();
  }

  /** The agent said something. */
  heard(): void {
    this.#missed = 0;
  }

  close(): void {
    this.#cancel();
  }

  #wait(): void {
    this.#cancel = this.#world.timers.after(HEARTBEAT_MS, () => {
      this.#wait();
      this.#beat();
    });
  }

  #beat(): void {
    if (!this.#parts.isBusy() || this.#world.isPaused?.() === true) this.#missed = 0;
    else if (this.#missed++ < MAXIMUM_MISSED_HEARTBEATS) this.#parts.ask();
    else {
      this.#missed = 0;
      this.#parts.stopped();
    }
  }
}
