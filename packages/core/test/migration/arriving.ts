/** A machine that comes, as far as its other end is played by a test. */

import { setTimeout as sleep } from 'node:timers/promises';
import { vi } from 'vitest';
import { PAGE_SIZE } from '../../src/base/numbers.ts';
import {
  bitmapOf,
  type Message,
  MESSAGE,
  MessageReader,
  MessageWriter,
  MIGRATION_VERSION,
  PageBatch,
} from '../../src/hypervisor/migration/messages.ts';
import { MigrationTarget } from '../../src/hypervisor/migration/target.ts';
import { Machine } from '../../src/machine/machine.ts';
import { blankMachine } from '../../src/machine/testing/blank-machine.ts';
import { savedToJson } from '../../src/vm/snapshot/saved-json.ts';
import { RAM_BASE, RAM_BYTES } from '../differential/places.ts';
import { brokenLinkCodec } from './broken-link.ts';

/** Pages that are missing. */
export const [GIVEN_AWAY, NEEDED] = [5, 6];

/** Among what comes late: nothing more comes over this link. */
export const CUT = new Uint8Array(0);

/** A machine that is the target's, with both pages missing, once it has heard COMMIT. */
export class Arriving {
  readonly target: MigrationTarget;
  readonly heard: number[] = [];
  readonly messages: Message[] = [];
  /** What comes over the link when it is read where the guest stands. */
  readonly late: Uint8Array[] = [];
  /** How often the guest waited for something that never comes. */
  waited = 0;
  lost: () => void = () => undefined;
  owned: () => void = () => undefined;
  readonly #codec = brokenLinkCodec();
  #writer = new MessageWriter(this.#codec);
  #reader = new MessageReader(this.#codec);
  /** What is said cannot be sent any more, until there is another link. */
  isDead = false;
  /** Called when the guest waits for another link: it is there when that gives true. */
  rejoin: ((wait: boolean) => boolean) | undefined;
  closed = 0;
  #hear: (message: Uint8Array) => void = () => undefined;

  constructor() {
    const send = (bytes: Uint8Array): void => {
      if (this.isDead) throw new Error('nobody reads');
      const message = this.#reader.read(bytes.slice());
      this.messages.push(message);
      this.heard.push(message.kind);
    };
    this.target = new MigrationTarget({
      link: {
        send: (message) => Promise.resolve(send(message)),
        listen: (onMessage, onLost) => ([this.#hear, this.lost] = [onMessage, onLost]),
        close: () => void this.closed++,
      },
      codec: this.#codec,
      clock: { monotonicNs: () => performance.now() * 1e6, sleep },
      make: emptyMachine,
      owned: async () => this.owned(),
      run: () => undefined,
      wait: () => ({
        send,
        receive: (wait) => {
          const message = this.late.shift();
          if (message === undefined && wait) throw new Error(`waits for ever, ${++this.waited}`);
          if (message === CUT) throw new Error('the link is cut');
          return message;
        },
        ...(this.rejoin === undefined ? {} : { rejoin: this.rejoin }),
      }),
    });
  }

  /** Says so many times which pages are missing. */
  async comes(times = 1, secret?: string): Promise<void> {
    const from = await emptyMachine();
    const { memoryBytes, hartCount: harts } = from;
    const { stateLayout } = Machine;
    const hello = { version: MIGRATION_VERSION, stateLayout, memoryBytes, harts, about: null };
    this.#hear(this.#writer.json(MESSAGE.HELLO, hello));
    await vi.waitUntil(() => this.heard.includes(MESSAGE.ACCEPT), { interval: 1 });
    for (let time = 0; time < times; time++)
      this.#hear(this.#writer.bytes(MESSAGE.MISSING, bitmapOf([GIVEN_AWAY, NEEDED], from.pages.count)));
    if (times > 1) return;
    await from.quiesce();
    this.#hear(
      this.#writer.json(MESSAGE.STATE, {
        state: savedToJson(from.save()),
        beside: null,
        ...(secret === undefined ? {} : { secret }),
      }),
    );
    this.#hear(this.#writer.json(MESSAGE.COMMIT, { stoodNs: 0 }));
  }

  /** Messages of both ends are numbered anew. */
  anew(): void {
    this.#writer = new MessageWriter(this.#codec);
    this.#reader = new MessageReader(this.#codec);
  }

  /** Of the link that there is now. */
  get writer(): MessageWriter {
    return this.#writer;
  }

  pages(...numbers: number[]): Uint8Array {
    const batch = new PageBatch(numbers, (pages, into) => {
      for (const [n, page] of pages.entries()) into.fill(page, n * PAGE_SIZE, (n + 1) * PAGE_SIZE);
      return pages;
    });
    return batch.finishPlain(this.#writer);
  }
}

/** With as much memory as the random programs have. */
export function emptyMachine(): Promise<Machine> {
  return blankMachine({ memoryBytes: RAM_BYTES });
}

export function firstByte(machine: Machine, page: number): number {
  const bytes = new Uint8Array(1);
  machine.ram.read(RAM_BASE + page * PAGE_SIZE, bytes);
  return bytes[0] ?? -1;
}
