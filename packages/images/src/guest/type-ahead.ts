/**
 * Keys that the user typed and the guest has not taken. They are kept here and not in the terminal: Ctrl-A X must be heard even while the
 * guest takes nothing.
 */

import type { GuestInput } from './guest-session.ts';

/** What is typed beyond that is lost. Enough for what people paste. */
export const TYPE_AHEAD_BYTES = 1024 * 1024;

export class TypeAhead {
  readonly #port: GuestInput;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isGiving = false;

  constructor(port: GuestInput) {
    this.#port = port;
  }

  push(typed: Uint8Array): void {
    if (this.#waitingBytes + typed.length > TYPE_AHEAD_BYTES) return;
    this.#waiting.push(typed);
    this.#waitingBytes += typed.length;
    if (!this.#isGiving) void this.#give();
  }

  async #give(): Promise<void> {
    this.#isGiving = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      for (let rest = next; rest.length > 0;) {
        const taken = this.#port.write(rest);
        this.#waitingBytes -= taken;
        rest = rest.subarray(taken);
        if (rest.length > 0) await this.#port.writable();
      }
    }
    this.#isGiving = false;
  }
}
