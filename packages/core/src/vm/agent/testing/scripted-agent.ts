/** A port with a guest behind it that says what a test wants, right or wrong, and a clock that stands until it is moved. */

import type { AgentPort, AgentWorld } from '../guest-agent.ts';
import { AGENT_HELLO_BYTES, FRAME, FRAME_HEADER_BYTES, HELLO_MAGIC, HIGHEST_VERSION } from '../protocol.ts';
import { WireWriter } from '../wire.ts';

export interface HostFrame {
  readonly type: number;
  readonly stream: number;
  readonly channel: number;
  readonly payload: Uint8Array;
}

export function frame(
  type: number,
  stream: number,
  channel: number,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  return new WireWriter().u16(payload.length).u8(type).u8(stream).u32(channel).bytes(payload).take();
}

export function words(...values: readonly number[]): Uint8Array {
  const writer = new WireWriter();
  for (const value of values) writer.u32(value);
  return writer.take().slice();
}

export class ScriptedAgent implements AgentPort {
  onData: ((bytes: Uint8Array) => void) | undefined;
  onOpen: (() => void) | undefined;
  onClose: (() => void) | undefined;
  hostOpen = true;
  guestOpen = false;
  /** What the host has sent and `take` has not given. */
  readonly received: HostFrame[] = [];
  /** How many bytes the port still takes. */
  room = Infinity;
  #bytes = new Uint8Array(0);
  #waiters: (() => void)[] = [];

  // The port.

  write(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, Math.min(bytes.length, this.room));
    this.room -= taken.length;
    const joined = new Uint8Array(this.#bytes.length + taken.length);
    joined.set(this.#bytes);
    joined.set(taken, this.#bytes.length);
    this.#bytes = joined;
    this.#parse();
    return taken.length;
  }

  writable(): Promise<void> {
    return this.room > 0 ? Promise.resolve() : new Promise((resolve) => this.#waiters.push(resolve));
  }

  discard(): void {
    this.#bytes = new Uint8Array(0);
    this.makeRoom(Infinity);
  }

  open(): void {
    this.hostOpen = true;
  }

  close(): void {
    this.hostOpen = false;
  }

  // The guest.

  makeRoom(bytes: number): void {
    this.room = bytes;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  /** Opens its end, as an agent that starts. */
  start(): void {
    this.guestOpen = true;
    this.onOpen?.();
  }

  end(): void {
    this.guestOpen = false;
    this.onClose?.();
  }

  /** Starts and greets. */
  greet({ version = HIGHEST_VERSION, window = 65_536, wallNs = 0n, name = 'test-agent' } = {}): void {
    if (!this.guestOpen) this.start();
    const hello = new WireWriter()
      .bytes(new TextEncoder().encode(HELLO_MAGIC))
      .u16(version)
      .u16(64)
      .u32(window)
      .u64(wallNs)
      .u32(0);
    if (hello.length !== AGENT_HELLO_BYTES) throw new Error('the greeting has another length');
    this.say(FRAME.HELLO, 0, 0, hello.bytes(new TextEncoder().encode(name)).take());
  }

  say(type: number, stream: number, channel: number, payload?: Uint8Array): void {
    this.sayBytes(frame(type, stream, channel, payload));
  }

  sayBytes(bytes: Uint8Array): void {
    this.onData?.(bytes);
  }

  /** The next frame of the host; it has to be of this type. */
  take(type: number): HostFrame {
    const next = this.received.shift();
    if (next?.type !== type) throw new Error(`the host sent ${JSON.stringify(next)} and not a frame of type ${type}`);
    return next;
  }

  #parse(): void {
    for (;;) {
      const fields = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
      if (fields.byteLength < FRAME_HEADER_BYTES) return;
      const end = FRAME_HEADER_BYTES + fields.getUint16(0, true);
      if (fields.byteLength < end) return;
      this.received.push({
        type: fields.getUint8(2),
        stream: fields.getUint8(3),
        channel: fields.getUint32(4, true),
        payload: this.#bytes.slice(FRAME_HEADER_BYTES, end),
      });
      this.#bytes = this.#bytes.subarray(end);
    }
  }
}

/** Time that passes when a test says so. */
export class StandingWorld implements AgentWorld {
  nowMs = 0;
  /** By how much the wall clock is ahead. */
  jumpNs = 0n;
  stands = false;
  #alarms: { readonly at: number; readonly ring: () => void }[] = [];
  readonly clock: AgentWorld['clock'] = {
    monotonicNs: () => this.nowMs * 1e6,
    wallNs: () => BigInt(this.nowMs) * 1_000_000n + this.jumpNs,
  };
  readonly timers: AgentWorld['timers'] = {
    after: (delayMs: number, ring: () => void) => {
      const alarm = { at: this.nowMs + delayMs, ring };
      this.#alarms.push(alarm);
      return () => {
        this.#alarms = this.#alarms.filter((other) => other !== alarm);
      };
    },
  };

  readonly isPaused = (): boolean => this.stands;

  get alarms(): number {
    return this.#alarms.length;
  }

  pass(ms: number): void {
    this.nowMs += ms;
    for (const alarm of this.#alarms.filter(({ at }) => at <= this.nowMs)) {
      this.#alarms = this.#alarms.filter((other) => other !== alarm);
      alarm.ring();
    }
  }
}
