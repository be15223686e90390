/**
 * A TCP endpoint for tests, written from RFC 9293 and as plain as can be: it stands for the guest. It sends all it has to send, in segments
 * of random sizes, sends everything again that is not acknowledged when its clock says so, and takes segments in any order.
 */

import { TCP, type TcpSegment } from '../tcp-segment.ts';

/** Between two attempts, in milliseconds. */
const RETRY_MS = 300;

export interface PeerParts {
  /** Sends a segment; it may get lost. */
  readonly send: (segment: TcpSegment) => void;
  readonly later: (delayMs: number, callback: () => void) => void;
  /** A random number from 0 to `below` - 1. */
  readonly random: (below: number) => number;
  readonly toSend: Uint8Array;
  readonly initialSequence: number;
  /** Windows that it shows are at most this large, and at times zero. */
  readonly largestWindow: number;
}

export class ModelPeer {
  readonly received: number[] = [];
  /** The other side has finished, and so has this one, and it knows that the other side knows. */
  isDone = false;
  wasReset = false;
  readonly #parts: PeerParts;
  readonly #start: number;
  #acknowledged = 0;
  #window = 0;
  #windowScale = 0;
  #segmentBytes = 536;
  #isOpen = false;
  #theirStart = 0;
  /** Octets of the other side by their place, as far as they have come. */
  readonly #pieces = new Map<number, number>();
  #theirEnd = Infinity;

  constructor(parts: PeerParts) {
    this.#parts = parts;
    this.#start = parts.initialSequence;
  }

  open(): void {
    this.#retry();
  }

  segment(segment: TcpSegment): void {
    const { flags, sequence, acknowledgement, data, window } = segment;
    if ((flags & TCP.RST) !== 0) {
      this.wasReset = !this.isDone;
      return;
    }
    if ((flags & TCP.SYN) !== 0) {
      if (!this.#isOpen) {
        this.#isOpen = true;
        this.#theirStart = (sequence + 1) >>> 0;
        this.#windowScale = segment.windowScale ?? 0;
        this.#segmentBytes = segment.maximumSegmentBytes ?? 536;
        this.#window = window;
      }
      this.#answer();
      this.#transmit();
      return;
    }
    if (!this.#isOpen) return;
    const acknowledged = (acknowledgement - this.#start - 1) | 0;
    if (acknowledged >= this.#acknowledged && acknowledged <= this.#parts.toSend.length + 1) {
      this.#acknowledged = acknowledged;
      this.#window = window * 2 ** this.#windowScale;
    }
    const at = (sequence - this.#theirStart) | 0;
    for (const [index, byte] of data.entries())
      if (at + index >= this.received.length) this.#pieces.set(at + index, byte);
    if ((flags & TCP.FIN) !== 0) this.#theirEnd = at + data.length;
    for (;;) {
      const next = this.#pieces.get(this.received.length);
      if (next === undefined) break;
      this.#pieces.delete(this.received.length);
      this.received.push(next);
    }
    if (data.length > 0 || (flags & TCP.FIN) !== 0) this.#answer();
    if (this.#hasTheirEnd && this.#acknowledged === this.#parts.toSend.length + 1) this.isDone = true;
    this.#transmit();
  }

  get #hasTheirEnd(): boolean {
    return this.received.length === this.#theirEnd;
  }

  #retry(): void {
    if (this.isDone || this.wasReset) return;
    if (this.#isOpen) {
      this.#highest = this.#acknowledged;
      // An octet beyond a closed window asks whether it has opened (3.8.6.1): who opened it may have said so in vain.
      if (this.#window === 0) this.#window = 1;
      this.#transmit();
      this.#answer();
    } else {
      const syn = { maximumSegmentBytes: 1000, windowScale: 0 };
      this.#parts.send({ ...this.#plain(TCP.SYN), ...syn, sequence: this.#start, acknowledgement: 0 });
    }
    this.#parts.later(RETRY_MS, () => this.#retry());
  }

  /** What was sent, until a retry takes it back. */
  #highest = 0;

  #transmit(): void {
    const { toSend, random } = this.#parts;
    this.#highest = Math.max(this.#highest, this.#acknowledged);
    while (this.#highest < toSend.length) {
      const room = Math.min(this.#acknowledged + this.#window - this.#highest, this.#segmentBytes);
      if (room <= 0) return;
      const size = Math.min(1 + random(room), toSend.length - this.#highest);
      const end = this.#highest + size;
      const flags = TCP.ACK | (end === toSend.length && random(2) === 0 ? TCP.FIN : 0);
      this.#parts.send({
        ...this.#plain(flags),
        sequence: this.#at(this.#highest),
        data: toSend.slice(this.#highest, end),
      });
      this.#highest = end + ((flags & TCP.FIN) === 0 ? 0 : 1);
    }
    if (this.#highest === toSend.length) {
      this.#parts.send({ ...this.#plain(TCP.FIN | TCP.ACK), sequence: this.#at(this.#highest) });
      this.#highest++;
    }
  }

  #answer(): void {
    this.#parts.send({ ...this.#plain(TCP.ACK), sequence: this.#at(this.#highest) });
  }

  #at(offset: number): number {
    return (this.#start + 1 + offset) >>> 0;
  }

  #plain(flags: number): TcpSegment {
    const { random, largestWindow } = this.#parts;
    return {
      sourcePort: 1,
      destinationPort: 2,
      sequence: 0,
      acknowledgement: (this.#theirStart + this.received.length + Number(this.#hasTheirEnd)) >>> 0,
      flags,
      window: random(8) === 0 ? 0 : 1 + random(largestWindow),
      data: new Uint8Array(0),
      maximumSegmentBytes: undefined,
      windowScale: undefined,
    };
  }
}
