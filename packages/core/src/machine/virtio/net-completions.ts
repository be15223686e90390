/**
 * When the driver hears that its frames were sent: not with each one, for hearing costs it an interrupt, and nobody waits for that as a rule.
 *
 *     frame sent --> held --with the next frame that comes in, or when much is held, or after a while--> used ring, one interrupt for all
 *
 * What waits is little: a driver that sends much has its buffers back at once, since TCP sends no more while too much of it is under way.
 */

import type { UsedChain, Virtqueue } from './queue.ts';
import type { Chain } from './chain.ts';

/** Bytes of frames whose buffers are held at the most. With more they go back before the guest goes on. */
export const MAXIMUM_HELD_BYTES = 8 * 1024;
/** Frames whose buffers are held at the most when the guest has nothing else to do. */
export const MAXIMUM_HELD_FRAMES = 8;
/** Nanoseconds that buffers are held at the most while the machine runs, and after which an idle machine is woken for them. */
export const LONGEST_HOLD_NS = 1_000_000;
export const IDLE_HOLD_NS = 2_000_000;

export class HeldCompletions {
  readonly #held: UsedChain[] = [];
  #bytes = 0;
  #sinceNs = 0;

  get isEmpty(): boolean {
    return this.#held.length === 0;
  }

  /** Whether so much is held that it is to go back now. */
  get isMuch(): boolean {
    return this.#bytes > MAXIMUM_HELD_BYTES || this.#held.length > MAXIMUM_HELD_FRAMES;
  }

  isDue(nowNs: number): boolean {
    return this.#held.length > 0 && nowNs - this.#sinceNs >= LONGEST_HOLD_NS;
  }

  /** The device is done with a chain. */
  add(chain: Chain, nowNs: number): void {
    if (this.#held.length === 0) this.#sinceNs = nowNs;
    this.#held.push({ chain, written: 0 });
    this.#bytes += chain.readable.bytes;
  }

  /** Gives everything back to the driver. Of a queue that was reset meanwhile there is nothing to give. */
  flush(queue: Virtqueue): void {
    if (this.#held.length > 0) queue.completeTogether(this.#held);
    this.forget();
  }

  forget(): void {
    this.#held.length = 0;
    this.#bytes = 0;
  }
}
