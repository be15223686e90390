/**
 * The machine's serial line and who looks at it: what the guest writes goes to every viewer, what any of them types goes to the guest. A
 * viewer that does not keep up misses something; it never holds up the machine or the others.
 */

import type { Machine } from '@ringfence/core';
import { SerialTail } from '@ringfence/images/guest';
import { HostError } from '../failure.ts';
import { ByteQueue } from '../control/byte-queue.ts';
import type { ConsoleViewer } from '../guest/calls.ts';
import { SerialInput } from '../machine/serial-input.ts';
import { SerialOutput } from '../machine/serial-output.ts';

export const MAXIMUM_VIEWERS = 16;
/** Bytes that wait for one viewer. */
export const VIEWER_BACKLOG_BYTES = 1024 * 1024;

export class SerialConsole {
  /** For the machine. */
  readonly output: SerialOutput;
  readonly #input = new SerialInput();
  readonly #tail = new SerialTail();
  readonly #viewers = new Set<ByteQueue>();
  readonly #onOutput: ((bytes: Uint8Array) => void) | undefined;
  /** What is typed goes to the guest in one order, whoever types. */
  #typed: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** `onOutput` gets all that the guest writes; the array is its to keep. */
  constructor(onOutput?: (bytes: Uint8Array) => void) {
    this.#onOutput = onOutput;
    this.output = new SerialOutput((bytes) => this.#say(bytes));
  }

  /** The kernel's last words, if it panicked. */
  get panic(): string | undefined {
    this.output.flush();
    return this.#tail.panic;
  }

  /** The end of what the guest wrote. */
  get tail(): string {
    this.output.flush();
    return this.#tail.text;
  }

  connect(serial: Machine['serial']): void {
    this.#input.connect(serial);
  }

  /** For the machine: its input queue, full before, has room again. */
  roomAgain(): void {
    this.#input.roomAgain();
  }

  open(): ConsoleViewer {
    if (this.#isClosed) throw new HostError('ended', 'the virtual machine has ended');
    if (this.#viewers.size >= MAXIMUM_VIEWERS)
      throw new HostError('too-many', `${MAXIMUM_VIEWERS} look at this console already, which is the most`);
    const output = new ByteQueue(VIEWER_BACKLOG_BYTES);
    this.#viewers.add(output);
    return {
      output,
      write: (bytes) => {
        this.#typed = this.#typed.then(() => this.#type(bytes));
        return this.#typed;
      },
      close: () => {
        this.#viewers.delete(output);
        output.end();
      },
    };
  }

  /** The machine has ended. */
  close(): void {
    this.output.flush();
    this.#isClosed = true;
    this.#input.roomAgain();
    for (const viewer of this.#viewers) viewer.end();
    this.#viewers.clear();
  }

  #say(bytes: Uint8Array): void {
    this.#tail.write(bytes);
    this.#onOutput?.(bytes);
    for (const viewer of this.#viewers)
      if (viewer.bytes + bytes.length <= VIEWER_BACKLOG_BYTES) void viewer.push(bytes);
  }

  async #type(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0 && !this.#isClosed;) {
      rest = rest.subarray(this.#input.write(rest));
      if (rest.length > 0 && !this.#isClosed) await this.#input.writable();
    }
  }
}
