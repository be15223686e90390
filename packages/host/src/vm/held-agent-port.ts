/**
 * The agent's port, held back: whoever takes it over hears nothing of the guest until `release`, and the guest nothing of him. `opened` resolves
 * when the guest has opened it.
 */

import type { AgentPort } from '@ringfence/core';

export class HeldAgentPort implements AgentPort {
  onData: AgentPort['onData'];
  onOpen: AgentPort['onOpen'];
  onClose: AgentPort['onClose'];
  readonly opened: Promise<void>;
  readonly #port: AgentPort;
  #isHeld = true;

  constructor(port: AgentPort) {
    this.#port = port;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.opened = promise;
    port.onOpen = () => {
      resolve();
      if (!this.#isHeld) this.onOpen?.();
    };
    port.onData = (bytes) => this.onData?.(bytes);
    port.onClose = () => {
      if (!this.#isHeld) this.onClose?.();
    };
  }

  /** From now on it is the port itself. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (this.#port.guestOpen) this.onOpen?.();
  }

  write(bytes: Uint8Array): number {
    return this.#port.write(bytes);
  }

  writable(): Promise<void> {
    return this.#port.writable();
  }

  close(): void {
    this.#port.close();
  }

  open(): void {
    this.#port.open();
  }

  discard(): void {
    this.#port.discard();
  }

  get hostOpen(): boolean {
    return this.#port.hostOpen;
  }

  get guestOpen(): boolean {
    return !this.#isHeld && this.#port.guestOpen;
  }
}
