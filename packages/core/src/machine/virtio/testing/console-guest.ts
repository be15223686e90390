/** The guest's end of a console device, for tests: keeps receive buffers posted, answers control messages as Linux does, records data. */

import { CONSOLE_EVENT } from '../console-control.ts';
import type { VirtioConsole } from '../console.ts';
import type { GuestQueue, Submitted } from './guest-queue.ts';
import type { Rig } from './rig.ts';

const BUFFER_BYTES = 256;
const BUFFERS = 8;

export interface SeenMessage {
  readonly port: number;
  readonly event: number;
  readonly value: number;
  readonly payload: Uint8Array;
}

export class ConsoleGuest {
  readonly rig: Rig<VirtioConsole>;
  /** Control messages of the device, in order. */
  readonly messages: SeenMessage[] = [];
  /** What each port received. */
  readonly received: Uint8Array[] = [];
  readonly #posted = new Map<number, Map<number, Submitted>>();

  constructor(rig: Rig<VirtioConsole>) {
    this.rig = rig;
  }

  /** Says DEVICE_READY and answers what follows until nothing follows. */
  begin(): this {
    this.post(2);
    this.sendControl(0, CONSOLE_EVENT.DEVICE_READY, 1);
    this.poll();
    return this;
  }

  queueOf(port: number, direction: 'receive' | 'transmit'): number {
    return (port === 0 ? 0 : 2 + 2 * port) + (direction === 'transmit' ? 1 : 0);
  }

  /** Posts receive buffers. */
  post(queue: number, count = BUFFERS, size = BUFFER_BYTES): void {
    const posted = this.#posted.get(queue) ?? new Map<number, Submitted>();
    this.#posted.set(queue, posted);
    for (let buffer = 0; buffer < count; buffer++) {
      const submitted = this.rig.queue(queue).submit([], [size]);
      posted.set(submitted.head, submitted);
    }
    this.rig.guest.notify(queue);
  }

  /** Takes what has been received on a queue and posts the buffers again. */
  take(queue: number, repost = true): Uint8Array[] {
    const ring: GuestQueue = this.rig.queue(queue);
    const posted = this.#posted.get(queue) ?? new Map<number, Submitted>();
    const taken = ring.takeUsed().map(({ head, written }) => {
      const submitted = posted.get(head);
      if (submitted === undefined) throw new Error(`queue ${queue} used a buffer that was not posted`);
      posted.delete(head);
      return ring.answer(submitted, written);
    });
    if (repost && taken.length > 0) this.post(queue, taken.length);
    return taken;
  }

  /** Handles control messages until there are no more; sets ports up as Linux does. */
  poll(): void {
    for (;;) {
      const messages = this.take(2);
      if (messages.length === 0) return;
      for (const bytes of messages) {
        const fields = new DataView(bytes.buffer, bytes.byteOffset);
        const message = {
          port: fields.getUint32(0, true),
          event: fields.getUint16(4, true),
          value: fields.getUint16(6, true),
          payload: bytes.subarray(8),
        };
        this.messages.push(message);
        if (message.event === CONSOLE_EVENT.DEVICE_ADD) {
          this.post(this.queueOf(message.port, 'receive'));
          this.sendControl(message.port, CONSOLE_EVENT.PORT_READY, 1);
        }
        if (message.event === CONSOLE_EVENT.CONSOLE_PORT) this.open(message.port);
      }
    }
  }

  sendControl(port: number, event: number, value: number): void {
    const bytes = new Uint8Array(8);
    const fields = new DataView(bytes.buffer);
    fields.setUint32(0, port, true);
    fields.setUint16(4, event, true);
    fields.setUint16(6, value, true);
    this.rig.queue(3).submit([bytes], []);
    this.rig.guest.notify(3);
    // Linux spins until it is used.
    if (this.rig.queue(3).takeUsed().length !== 1) throw new Error('a control message was not taken at once');
  }

  open(port: number): void {
    this.sendControl(port, CONSOLE_EVENT.PORT_OPEN, 1);
  }

  close(port: number): void {
    this.sendControl(port, CONSOLE_EVENT.PORT_OPEN, 0);
  }

  /** Writes to a port, one buffer, without (or with) telling the device. */
  write(port: number, bytes: string | Uint8Array, notify = true): Submitted {
    const data = typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes;
    const queue = this.queueOf(port, 'transmit');
    const submitted = this.rig.queue(queue).submit([data], []);
    if (notify) this.rig.guest.notify(queue);
    return submitted;
  }

  /** What a port has received since the last call, as text. */
  read(port: number): string {
    return this.take(this.queueOf(port, 'receive'))
      .map((bytes) => new TextDecoder().decode(bytes))
      .join('');
  }
}
