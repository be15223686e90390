/**
 * Control messages of the console device (virtio 1.3, 5.3.6.2): their layout, and those that wait for a buffer of the driver.
 *
 *     le32 id (port), le16 event, le16 value, then the name of a port (PORT_NAME) or its columns and rows (RESIZE)
 *
 * A message says how things are, not what happened; so a newer one takes the place of an older one of the same port and event, and the
 * mailbox holds at most one of each.
 */

import type { Saved, SavedReader } from '../../base/saved.ts';
import type { Chain } from './chain.ts';
import type { Virtqueue } from './queue.ts';

/** Values of `event`. */
export const CONSOLE_EVENT = {
  DEVICE_READY: 0,
  DEVICE_ADD: 1,
  DEVICE_REMOVE: 2,
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  PORT_OPEN: 6,
  PORT_NAME: 7,
} as const;

/** Those that the device sends. */
const FROM_DEVICE = [
  CONSOLE_EVENT.DEVICE_ADD,
  CONSOLE_EVENT.CONSOLE_PORT,
  CONSOLE_EVENT.RESIZE,
  CONSOLE_EVENT.PORT_OPEN,
  CONSOLE_EVENT.PORT_NAME,
] as const;
export type DeviceEvent = (typeof FROM_DEVICE)[number];

const MESSAGE_BYTES = 8;

export interface ControlMessage {
  readonly port: number;
  readonly event: number;
  readonly value: number;
}

/** The message that the driver sent, or undefined when it is too short to be one. */
export function readControlMessage(chain: Chain): ControlMessage | undefined {
  if (chain.readable.bytes < MESSAGE_BYTES) return undefined;
  const bytes = new Uint8Array(MESSAGE_BYTES);
  chain.readable.copyTo(bytes);
  const fields = new DataView(bytes.buffer);
  return { port: fields.getUint32(0, true), event: fields.getUint16(4, true), value: fields.getUint16(6, true) };
}

interface Pending {
  readonly port: number;
  readonly event: DeviceEvent;
  readonly value: number;
}

/** Messages to the driver, in order. */
export class ControlMailbox {
  #pending: Pending[] = [];
  readonly #payload: (port: number, event: DeviceEvent) => Uint8Array;

  /** `payload` gives what follows a message's header, as it is when the message leaves. */
  constructor(payload: (port: number, event: DeviceEvent) => Uint8Array) {
    this.#payload = payload;
  }

  post(port: number, event: DeviceEvent, value: number): void {
    const message = { port, event, value };
    const older = this.#pending.findIndex((pending) => pending.port === port && pending.event === event);
    if (older < 0) this.#pending.push(message);
    else this.#pending[older] = message;
  }

  clear(): void {
    this.#pending = [];
  }

  /** Sends what the driver has buffers for. A buffer that is too small goes back empty, and the message waits for the next. */
  send(queue: Virtqueue): void {
    while (this.#pending.length > 0) {
      const chain = queue.pop();
      const [message] = this.#pending;
      if (chain === undefined || message === undefined) return;
      const bytes = encode(message, this.#payload(message.port, message.event));
      if (bytes.length > chain.writable.bytes) {
        queue.complete(chain, 0);
        continue;
      }
      this.#pending.shift();
      chain.writable.copyFrom(bytes);
      queue.complete(chain, bytes.length);
    }
  }

  save(): Saved {
    return this.#pending.map((message) => ({ ...message }));
  }

  /** Checks what `save` gave and returns what takes it over. */
  restorer(reader: SavedReader, ports: number): () => void {
    const pending = reader.list().map((item) => {
      const event = item.field('event');
      const number = event.integer(0, 0xffff);
      return {
        port: item.field('port').integer(0, ports - 1),
        event: FROM_DEVICE.find((known) => known === number) ?? event.refuse('is no message of the device'),
        value: item.field('value').integer(0, 0xffff),
      };
    });
    if (new Set(pending.map(({ port, event }) => `${port} ${event}`)).size < pending.length)
      reader.refuse('holds a message twice');
    return () => {
      this.#pending = pending;
    };
  }
}

function encode({ port, event, value }: Pending, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_BYTES + payload.length);
  const fields = new DataView(bytes.buffer);
  fields.setUint32(0, port, true);
  fields.setUint16(4, event, true);
  fields.setUint16(6, value, true);
  bytes.set(payload, MESSAGE_BYTES);
  return bytes;
}
