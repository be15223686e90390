/** The ticks that `time` and `mtime` count, the same on every thread: those of the machine's clock, and an offset that is the guest's. */

import type { Clock } from '../base/ports.ts';
import { defined } from '../base/assert.ts';
import type { Domain } from '../engine/domain.ts';
import type { Guest } from '../engine/guest.ts';
import { HART } from '../engine/layout.ts';
import { NS_PER_TICK } from './memory-map.ts';

export class Timebase {
  /** When the machine was made, by `clock`. */
  readonly startNs: number;
  readonly #clock: Clock;
  readonly #domain: Domain;
  /** Where the offset is, as a position in a BigUint64Array. */
  readonly #at: number;

  constructor(
    clock: Clock,
    { domain, tickOffset }: Pick<Guest, 'domain' | 'tickOffset'>,
    startNs: number = clock.monotonicNs(),
  ) {
    this.#clock = clock;
    this.#domain = domain;
    this.startNs = startNs;
    this.#at = tickOffset >>> 3;
  }

  /** Nanoseconds since the machine was made. */
  get elapsedNs(): number {
    return this.#clock.monotonicNs() - this.startNs;
  }

  /** Ticks since the machine was made. */
  ticks(): bigint {
    return BigInt(this.#count());
  }

  /** What `mtime` is ahead of them, modulo 2^64. */
  set offset(offset: bigint) {
    Atomics.store(this.#domain.u64, this.#at, offset);
  }

  /** `mtime`. */
  now(): bigint {
    return BigInt.asUintN(64, this.ticks() + this.#offset);
  }

  /** Puts `mtime` where the hart at `hart` looks for it. */
  read(hart: number): void {
    const cell = (hart + HART.time) >>> 2;
    const { u32, u64 } = this.#domain;
    if (u32[2 * this.#at] !== 0 || u32[2 * this.#at + 1] !== 0) u64[cell >>> 1] = this.now();
    else {
      const ticks = this.#count();
      u32[cell] = ticks % 2 ** 32;
      u32[cell + 1] = Math.floor(ticks / 2 ** 32);
    }
  }

  get #offset(): bigint {
    return defined(this.#domain.u64[this.#at], 'the offset');
  }

  #count(): number {
    return Math.floor((this.#clock.monotonicNs() - this.startNs) / NS_PER_TICK);
  }
}
