/**
 * A stream into the guest: what the guest's window has no room for waits here, one write at a time.
 *
 *     write --> DATA, as far as the window is open --> the agent --> the program --> WINDOW
 */

import type { AgentInput } from './guest-agent.ts';
import { ProtocolViolation } from './guest-message.ts';
import { MAXIMUM_PAYLOAD_BYTES } from './protocol.ts';

export interface InputSink {
  data(bytes: Uint8Array): void;
  end(): void;
}

interface Waiting {
  bytes: Uint8Array;
  readonly resolve: () => void;
}

export class InputStream implements AgentInput {
  readonly #sink: InputSink;
  #largestWindow: number;
  #window: number;
  #waiting: Waiting[] = [];
  #state: 'open' | 'ending' | 'ended' | 'unread' = 'open';

  constructor(windowBytes: number, sink: InputSink) {
    this.#window = windowBytes;
    this.#largestWindow = windowBytes;
    this.#sink = sink;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#state !== 'open' || bytes.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      // A piece of its own: the caller may use its array again as soon as this call returns.
      this.#waiting.push({ bytes: bytes.slice(), resolve });
      this.#send();
    });
  }

  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.#send();
  }

  get isClosed(): boolean {
    return this.#state === 'unread';
  }

  // The connection's side.

  /** How large the window is, of a stream that was made before that was known. */
  begin(windowBytes: number): void {
    this.#largestWindow = windowBytes;
    this.openWindow(windowBytes);
  }

  openWindow(bytes: number): void {
    this.#window += bytes;
    if (this.#window > this.#largestWindow) throw new ProtocolViolation('a larger window than it has');
    this.#send();
  }

  /** Nobody reads it any more. */
  abandon(): void {
    this.#state = 'unread';
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #send(): void {
    for (;;) {
      const [first] = this.#waiting;
      if (first === undefined) break;
      const count = Math.min(first.bytes.length, this.#window, MAXIMUM_PAYLOAD_BYTES);
      if (count === 0) return;
      this.#window -= count;
      this.#sink.data(first.bytes.subarray(0, count));
      first.bytes = first.bytes.subarray(count);
      if (first.bytes.length > 0) continue;
      this.#waiting.shift();
      first.resolve();
    }
    if (this.#state !== 'ending') return;
    this.#state = 'ended';
    this.#sink.end();
  }
}
