/** A link in memory that delays what it carries, and once changes a bit of it, loses or repeats a message, or is cut, where it is told to. */

import { crc32 } from 'node:zlib';
import type { MigrationCodec, MigrationLink, WaitingLink } from '../../src/hypervisor/migration/ports.ts';
import type { Random } from '../../src/engine/float/testing/vectors.ts';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';

export const FAULTS = ['none', 'cut', 'garble', 'drop', 'repeat'] as const;

export interface Fault {
  readonly kind: (typeof FAULTS)[number];
  /** The message that it happens to, of those of both ends together. */
  readonly at: number;
}

export class BrokenLink {
  readonly ends: readonly [End, End];
  readonly #random: Random;
  #fault: Fault;
  #isOpen = true;
  #carried = 0;

  constructor(random: Random, fault: Fault) {
    this.#random = random;
    this.#fault = fault;
    this.ends = [new End(this, () => this.ends[1]), new End(this, () => this.ends[0])];
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Breaks so many messages from now on. */
  breakSoon({ kind, at }: Fault): void {
    this.#fault = { kind, at: this.#carried + at };
  }

  /** Whether that is none of the next messages. */
  isSafeFor(messages: number): boolean {
    const { kind, at } = this.#fault;
    return kind === 'none' || at < this.#carried || at > this.#carried + messages;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const end of this.ends) end.lost();
  }

  /** Turns of the event loop that the next message takes. */
  get delay(): number {
    return this.#random.below(3);
  }

  /** What comes of a message. */
  carried(message: Uint8Array): Uint8Array[] {
    if (this.#carried++ !== this.#fault.at) return [message];
    switch (this.#fault.kind) {
      case 'cut':
        this.close();
        return [];
      case 'garble': {
        const changed = message.slice();
        const at = this.#random.below(changed.length);
        changed[at] = (changed[at] ?? 0) ^ (1 << this.#random.below(8));
        return [changed];
      }
      case 'drop':
        return [];
      case 'repeat':
        return [message, message.slice()];
      default:
        return [message];
    }
  }
}

export class End implements MigrationLink {
  readonly #link: BrokenLink;
  readonly #other: () => End;
  readonly #queue: Uint8Array[] = [];
  #onMessage: ((message: Uint8Array) => void) | undefined;
  #onLost: (() => void) | undefined;
  /** Whether what comes waits until it is asked for. */
  isHeld = false;
  /** Whether anything has come. */
  hasHeard = false;

  constructor(link: BrokenLink, other: () => End) {
    this.#link = link;
    this.#other = other;
  }

  /** What was sent is changed at once, as whoever sends it may. */
  send(message: Uint8Array, sent?: () => void): Promise<void> {
    if (this.#link.isOpen) for (const each of this.#link.carried(message.slice())) this.#other().#arrive(each);
    if (sent) {
      message.fill(0xff);
      sent();
    }
    return Promise.resolve();
  }

  listen(onMessage: (message: Uint8Array) => void, onLost: () => void): void {
    this.#onMessage = onMessage;
    this.#onLost = onLost;
  }

  close(): void {
    this.#link.close();
  }

  get isOpen(): boolean {
    return this.#link.isOpen;
  }

  lost(): void {
    // Who hears of it does so in a turn of its own.
    setImmediate(() => this.#onLost?.());
  }

  /** As a link of one who waits: the other end answers in this very turn. */
  get waiting(): WaitingLink {
    this.isHeld = true;
    return { send: (message) => void this.send(message), receive: (wait) => this.#receive(wait) };
  }

  #receive(wait: boolean): Uint8Array | undefined {
    const message = this.#queue.shift();
    if (message === undefined && (wait || !this.#link.isOpen)) throw new Error('the link was cut');
    return message;
  }

  /** What has come is heard now. */
  flush(): void {
    while (!this.isHeld && this.#queue.length > 0 && this.#link.isOpen) {
      const message = this.#queue.shift() as Uint8Array;
      this.#onMessage?.(message);
      // It is there only while it is heard.
      message.fill(0xff);
    }
  }

  #arrive(message: Uint8Array): void {
    this.hasHeard = true;
    this.#queue.push(message);
    // The guest at the other end stands still until it has its answer.
    if (this.#other().isHeld) return this.flush();
    const turn = (left: number): void => void (left === 0 ? this.flush() : setImmediate(() => turn(left - 1)));
    turn(this.#link.delay);
  }
}

/** Compresses every other batch of pages. */
export function brokenLinkCodec(): MigrationCodec {
  let count = 0;
  return {
    checksum: (bytes) => crc32(bytes),
    compress: async (pages) => (count++ % 2 === 0 ? zstdCompressSync(pages) : undefined),
    decompress: (packed, bytes) => zstdDecompressSync(packed, { maxOutputLength: bytes }),
    turn: () => new Promise((resolve) => void setImmediate(resolve)),
  };
}
