/** The serial line as an input with back-pressure, as a console port is one. */

import type { Machine } from '@ringfence/core';
import type { GuestInput } from '@ringfence/images/guest';

type Uart = Pick<Machine['serial'], 'receive'>;

export class SerialInput implements GuestInput {
  #uart: Uart | undefined;
  #waiting: (() => void)[] = [];
  #hasRoom = true;

  connect(uart: Uart): void {
    this.#uart = uart;
  }

  write(bytes: Uint8Array): number {
    const taken = this.#uart?.receive(bytes) ?? 0;
    this.#hasRoom = taken === bytes.length;
    return taken;
  }

  async writable(): Promise<void> {
    if (!this.#hasRoom) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** A serial line has no end of input. */
  close(): void {}

  /** The line, full before, takes more. */
  roomAgain(): void {
    this.#hasRoom = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
