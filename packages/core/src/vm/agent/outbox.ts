/** Frames on their way to the guest, in order, as fast as the port takes them. */

import type { AgentPort } from './guest-agent.ts';
import { FRAME_HEADER_BYTES } from './protocol.ts';

export class Outbox {
  readonly #port: AgentPort;
  #frames: Uint8Array[] = [];
  #bytes = 0;
  #isWaiting = false;
  #isClosed = false;

  constructor(port: AgentPort) {
    this.#port = port;
  }

  /** What the port has not taken yet. */
  get bytes(): number {
    return this.#bytes;
  }

  send(type: number, stream: number, channel: number, payload: Uint8Array): void {
    const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
    const fields = new DataView(frame.buffer);
    fields.setUint16(0, payload.length, true);
    fields.setUint8(2, type);
    fields.setUint8(3, stream);
    fields.setUint32(4, channel, true);
    frame.set(payload, FRAME_HEADER_BYTES);
    this.#frames.push(frame);
    this.#bytes += frame.length;
    this.#pump();
  }

  /** The connection is over. */
  close(): void {
    this.#isClosed = true;
    this.#frames = [];
  }

  #pump(): void {
    while (!this.#isWaiting && !this.#isClosed) {
      const [frame] = this.#frames;
      if (frame === undefined) return;
      // First taken off the list: the guest may run at once within `write` and something else be sent meanwhile.
      this.#frames.shift();
      const taken = this.#port.write(frame);
      this.#bytes -= taken;
      if (taken === frame.length) continue;
      this.#frames.unshift(frame.subarray(taken));
      this.#isWaiting = true;
      void this.#pumpLater();
    }
  }

  async #pumpLater(): Promise<void> {
    await this.#port.writable();
    this.#isWaiting = false;
    this.#pump();
  }
}
