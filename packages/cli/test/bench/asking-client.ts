/**
 * Somebody outside who asks a guest over TCP every millisecond, and connects again when the connection ends: how long it was without an answer, at the worst.
 */

import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Between an answer and the next question, and between two attempts to connect. */
const PAUSE_MS = 1;
/** A connection without an answer for so long is given up for another one. */
const PATIENCE_MS = 200;

export class AskingClient {
  readonly #port: number;
  #socket: Socket | undefined;
  #isOver = false;
  #answeredMs = performance.now();
  #worstMs = 0;
  #connections = 0;

  constructor(port: number) {
    this.#port = port;
    void this.#ask();
  }

  /** The longest time without an answer since it was asked for the last time, and in how many connections. */
  take(): { readonly worstMs: number; readonly connections: number } {
    const taken = { worstMs: this.#worstMs, connections: this.#connections };
    this.#worstMs = 0;
    this.#connections = this.#socket === undefined ? 0 : 1;
    return taken;
  }

  /** Resolves when the guest answers. */
  async answers(): Promise<void> {
    for (const since = this.#answeredMs; this.#answeredMs === since;) await sleep(10);
  }

  end(): void {
    this.#isOver = true;
    this.#socket?.destroy();
  }

  async #ask(): Promise<void> {
    while (!this.#isOver) {
      const socket = (this.#socket = connect(this.#port, '127.0.0.1').setNoDelay());
      const gone = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
      socket.on('error', () => undefined);
      socket.setTimeout(PATIENCE_MS, () => socket.destroy());
      socket.once('connect', () => {
        this.#connections++;
        socket.write('?');
      });
      socket.on('data', () => {
        const nowMs = performance.now();
        this.#worstMs = Math.max(this.#worstMs, nowMs - this.#answeredMs);
        this.#answeredMs = nowMs;
        setTimeout(() => socket.write('?'), PAUSE_MS);
      });
      await gone;
      await sleep(PAUSE_MS);
    }
  }
}
