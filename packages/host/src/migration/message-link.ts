/** Messages of a migration over a connection of frames, a FRAME.DATA each; and the same connection of a guest that waits for one where it stands. */

import { readSync, writeSync } from 'node:fs';
import type { MigrationLink, WaitingLink } from '@ringfence/core';
import type { ByteFlow } from '../control/byte-flow.ts';
import { FRAME, type FrameKind, type FrameLink, HEADER_BYTES } from '../control/frames.ts';
import { FramesInPlace } from '../control/frames-in-place.ts';
import { HostError } from '../failure.ts';
import { atOnce, type Mailbox } from './mailbox.ts';

/** Bytes that may wait to be sent, so that a link is busy while who fills it waits for a processor. */
const AHEAD_BYTES = 2 * 1024 * 1024;
/** How long the thread sleeps when nothing has come yet, in ms; and when the link is lost. */
const LOOK_AGAIN_MS = 0.05;
const LOOK_FOR_LINK_MS = 5;

/**
 * The messages among the frames of a connection with the daemon, which carries them. FRAME.INPUT_END says that they come no more, or go nowhere; the
 * connection itself stays for the answer.
 */
export class MessageLink implements MigrationLink {
  readonly #link: FrameLink;
  readonly #frames = new FramesInPlace();
  #flow: ByteFlow | undefined;
  /** How it is read and written since a guest may wait where it stands. */
  #waiting: Waiting | undefined;

  constructor(link: FrameLink) {
    this.#link = link;
  }

  async send(message: Uint8Array, sent?: () => void): Promise<void> {
    const room = this.#link.send(FRAME.DATA, message, sent);
    if (this.#link.waitingBytes > AHEAD_BYTES) await room;
  }

  listen(onMessage: (message: Uint8Array) => void, onLost: () => void): void {
    const frames = this.#frames;
    const came = (bytes: number): boolean => {
      frames.came(bytes);
      try {
        for (let frame = frames.next(); frame !== undefined; frame = frames.next())
          if (frame.kind === FRAME.DATA) onMessage(bytesOf(frame.payload));
          else if (frame.kind === FRAME.INPUT_END) onLost();
      } catch {
        // What makes no sense is the end of it.
        this.#link.destroy();
      }
      return true;
    };
    this.#flow = this.#link.flow({ room: () => frames.room(), came });
    void this.#link.over().then(onLost);
  }

  close(): void {
    if (this.#waiting === undefined) void this.#link.send(FRAME.INPUT_END);
    else this.#waiting.say(FRAME.INPUT_END);
  }

  /**
   * Reads the socket by its number from now on, without the event loop: a guest that touches a page that is not here does so in the middle of a call.
   * The other end sends nothing between the two ways of reading.
   *
   * INPUT_END says that the link is lost which the daemon has with the other one. There may be another one: STARTED says so, and EVENT is the answer to
   * that, behind which nothing comes that was said over the lost one. When the daemon itself is gone, the next one says so in the `mailbox`.
   */
  wait(mailbox?: Mailbox): WaitingLink {
    const fd = this.#flow?.detach();
    if (fd === undefined && mailbox === undefined) throw gone();
    this.#waiting = new Waiting(fd, mailbox, this.#frames);
    return this.#waiting;
  }

  /** Nothing is missing any more: a daemon that was not there when the machine came hears it so. */
  whole(): void {
    if (this.#waiting?.isElsewhere === true) this.#waiting.say(FRAME.RESULT);
  }
}

/** What a connection, or what stands in for it, does at once: undefined when it cannot, and 0 when nobody is there any more. */
interface ByteWay {
  read(into: Uint8Array): number | undefined;
  write(bytes: Uint8Array, at: number): number | undefined;
}

class Waiting implements WaitingLink {
  readonly #mailbox: Mailbox | undefined;
  #frames: FramesInPlace;
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));
  /** Undefined when the daemon is gone, and no other one has said that it is there. */
  #way: ByteWay | undefined;

  constructor(fd: number | undefined, mailbox: Mailbox | undefined, frames: FramesInPlace) {
    this.#mailbox = mailbox;
    this.#frames = frames;
    if (fd === undefined) return;
    this.#way = {
      read: (into) => atOnce(() => readSync(fd, into)),
      write: (bytes, at) => atOnce(() => writeSync(fd, bytes, at)),
    };
  }

  /** Whether it is another daemon by now. */
  get isElsewhere(): boolean {
    return this.#way !== undefined && this.#way === this.#mailbox;
  }

  send(message: Uint8Array): void {
    this.#send(FRAME.DATA, message);
  }

  receive(wait: boolean): Uint8Array | undefined {
    for (;;) {
      for (let frame = this.#frames.next(); frame !== undefined; frame = this.#frames.next()) {
        if (frame.kind === FRAME.INPUT_END) throw gone();
        if (frame.kind === FRAME.DATA) return bytesOf(frame.payload);
      }
      if (this.#way === undefined) throw gone();
      const bytes = this.#way.read(this.#frames.room());
      if (bytes === 0) throw this.#lost();
      if (bytes !== undefined) this.#frames.came(bytes);
      else if (wait) this.#sleep(LOOK_AGAIN_MS);
      else return undefined;
    }
  }

  rejoin(wait: boolean): boolean {
    for (;;) {
      for (let frame = this.#frames.next(); frame !== undefined; frame = this.#frames.next())
        if (frame.kind === FRAME.STARTED && this.#answered()) return true;
      const way = this.#way ?? this.#mailbox;
      if (way === undefined) throw gone();
      const bytes = way.read(this.#frames.room());
      if (bytes === 0) this.#lost();
      else if (bytes !== undefined) this.#frames.came(bytes);
      else if (wait) this.#sleep(LOOK_FOR_LINK_MS);
      else return false;
    }
  }

  /** Says something that has no content, if somebody is there. */
  say(kind: FrameKind): void {
    try {
      this.#send(kind, NOTHING);
    } catch {
      // Nobody is.
    }
  }

  /** It is a daemon that speaks, and it hears so; false when it is gone already. */
  #answered(): boolean {
    try {
      this.#way ??= this.#mailbox;
      this.#send(FRAME.EVENT, NOTHING);
      return true;
    } catch {
      return false;
    }
  }

  #send(kind: FrameKind, message: Uint8Array): void {
    const frame = Buffer.alloc(HEADER_BYTES + message.length);
    frame.writeUInt32BE(message.length + 1);
    frame[HEADER_BYTES - 1] = kind;
    frame.set(message, HEADER_BYTES);
    for (let at = 0; at < frame.length;) {
      const written = this.#way === undefined ? 0 : this.#way.write(frame, at);
      if (written === 0) throw this.#lost();
      if (written === undefined) this.#sleep(LOOK_AGAIN_MS);
      else at += written;
    }
  }

  #sleep(ms: number): void {
    Atomics.wait(this.#pause, 0, 0, ms);
  }

  /** Nothing of what the daemon has begun to say counts any more, and its number may soon be another connection's. */
  #lost(): HostError {
    if (this.isElsewhere) this.#mailbox?.close();
    this.#way = undefined;
    this.#frames = new FramesInPlace();
    return gone();
  }
}

const NOTHING = new Uint8Array(0);

function gone(): HostError {
  return new HostError('ended', 'the connection is gone');
}

/** Not as a Buffer, whose `slice` copies nothing: the core copies what it keeps of a message. */
function bytesOf({ buffer, byteOffset, length }: Buffer): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}
