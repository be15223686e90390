/**
 * A standard stream of this process as a place where a guest's bytes go. What the reader has not taken yet is counted, so that whoever
 * produces it can wait; a reader that has gone away (EPIPE) is an event and not an error.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Writable } from 'node:stream';
import { systemReason } from '@ringfence/host/failure';

/** More than this is not kept waiting for a slow reader, as far as the producer listens. */
export const OUTPUT_BACKLOG_BYTES = 256 * 1024;

export class Output {
  /** Called once, when nothing more can be written. The reason is undefined when the reader went away, else the end of a sentence. */
  onBroken: ((reason: string | undefined) => void) | undefined;
  /** Why bytes were lost, as the end of a sentence; undefined when none were, or nobody was there to read them. */
  failure: string | undefined;
  readonly #stream: Writable;
  #pendingBytes = 0;
  #isBroken = false;
  #waitingForRoom: (() => void)[] = [];
  #waitingForEnd: (() => void)[] = [];

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', (error) => this.#break(error));
  }

  /** Takes the bytes; the array must not change any more. */
  write(bytes: Uint8Array): void {
    if (this.#isBroken || bytes.length === 0) return;
    this.#pendingBytes += bytes.length;
    this.#stream.write(bytes, (error) => {
      this.#pendingBytes -= bytes.length;
      if (error) this.#break(error);
      this.#tell();
    });
  }

  get isFull(): boolean {
    return this.#pendingBytes > OUTPUT_BACKLOG_BYTES && !this.#isBroken;
  }

  /** Calls back once, when it is full no longer. */
  whenRoom(callback: () => void): void {
    if (this.isFull) this.#waitingForRoom.push(callback);
    else callback();
  }

  /** Resolves when the reader has everything, or nobody will ever read it. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#waitingForEnd.push(resolve);
      this.#tell();
    });
  }

  #tell(): void {
    if (!this.isFull) for (const callback of this.#waitingForRoom.splice(0)) callback();
    if (this.#pendingBytes === 0 || this.#isBroken) for (const callback of this.#waitingForEnd.splice(0)) callback();
  }

  #break(error: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    // EIO: the terminal has been closed.
    const isGone = error instanceof Error && 'code' in error && (error.code === 'EPIPE' || error.code === 'EIO');
    this.failure = isGone ? undefined : systemReason(error);
    this.onBroken?.(this.failure);
    this.#tell();
  }
}

/** How long an ended machine's output waits for a reader, when the end was forced, in milliseconds. */
export const FORCED_DRAIN_MS = 1000;

/** Waits until all is read; when `isForced`, or from `signal` on, no longer than FORCED_DRAIN_MS. */
export async function drainAll(outputs: readonly Output[], isForced: boolean, signal: AbortSignal): Promise<void> {
  const drained = Promise.all(outputs.map((output) => output.drained()));
  const forced = new Promise<void>((resolve) => {
    if (isForced || signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await Promise.race([drained, forced.then(() => sleep(FORCED_DRAIN_MS, undefined, { ref: false }))]);
}
