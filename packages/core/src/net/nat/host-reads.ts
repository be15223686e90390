/**
 * What a host reads for one connection: how much at once, and whether at all. It begins with little, twice as much each time a read was filled, less
 * when it no longer is; and it is paused while the guest does not take what came. What waits for the guest, and what the next read may bring beyond
 * the smallest, is held in the budget that all connections share.
 */

import type { HostTcp } from '../host.ts';
import type { ByteBudget } from './byte-budget.ts';

/** Bytes of the host that may wait for the guest; with more the host's socket is paused. What a host reads at once comes on top. */
export const SEND_QUEUE_BYTES = 1024 * 1024;
/** What a host reads at once at first, and while memory is scarce. */
export const MINIMUM_READ_BYTES = 16 * 1024;
const MAXIMUM_READ_BYTES = 256 * 1024;

export class HostReads {
  readonly #budget: ByteBudget;
  readonly #hold: (bytes: number) => void;
  #nextBytes = MINIMUM_READ_BYTES;
  #cameBytes = 0;
  #waitingBytes = 0;
  #isPaused = false;
  #isOver = false;

  constructor(budget: ByteBudget) {
    this.#budget = budget;
    this.#hold = budget.share();
  }

  /** How much to read at once next (TcpEvents.nextRead). */
  next(): number {
    const bytes = this.#nextBytes;
    if (this.#isOver || this.#budget.isScarce) this.#nextBytes = MINIMUM_READ_BYTES;
    else if (this.#cameBytes >= bytes) this.#nextBytes = Math.min(MAXIMUM_READ_BYTES, bytes * 2);
    else if (this.#cameBytes < bytes / 4) this.#nextBytes = Math.max(MINIMUM_READ_BYTES, bytes / 2);
    this.#count();
    return this.#nextBytes;
  }

  /** So much came, and `waitingBytes` wait for the guest now. */
  came(bytes: number, waitingBytes: number, host: HostTcp | undefined): void {
    this.#cameBytes = bytes;
    this.#waitingBytes = waitingBytes;
    this.#count();
    if (this.#isPaused || (waitingBytes < SEND_QUEUE_BYTES && this.#budget.left > 0)) return;
    this.#isPaused = true;
    host?.pause();
  }

  /** The guest has taken what does not wait any more. */
  taken(waitingBytes: number, host: HostTcp | undefined): void {
    this.#waitingBytes = waitingBytes;
    this.#count();
    if (!this.#isPaused || waitingBytes >= (this.#budget.left > 0 ? SEND_QUEUE_BYTES / 2 : 1)) return;
    this.#isPaused = false;
    host?.resume();
  }

  /** Nothing waits any more, and nothing will. */
  end(): void {
    this.#isOver = true;
    this.#hold(0);
  }

  #count(): void {
    if (!this.#isOver) this.#hold(this.#waitingBytes + this.#nextBytes - MINIMUM_READ_BYTES);
  }
}
