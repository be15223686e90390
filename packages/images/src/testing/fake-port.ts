/** A console port without a machine: remembers what it was given and takes as much as the test lets it. */

import type { GuestPort } from '../guest/guest-session.ts';

export class FakePort implements GuestPort {
  onData: ((bytes: Uint8Array) => void) | undefined;
  isPaused = false;
  isClosed = false;
  received = '';
  /** Bytes that fit before `drain` is called. */
  room = Infinity;
  #waiting: (() => void)[] = [];

  write(bytes: Uint8Array): number {
    const taken = Math.min(this.room, bytes.length);
    this.room -= taken;
    this.received += Buffer.from(bytes.subarray(0, taken)).toString();
    return taken;
  }

  writable(): Promise<void> {
    if (this.room > 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  drain(room: number): void {
    this.room = room;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  close(): void {
    this.isClosed = true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  /** The guest writes. */
  say(text: string): void {
    this.onData?.(Buffer.from(text));
  }
}
