/** Messages of a migration over a connection of frames, a FRAME.DATA each; and the same connection of a guest that waits for one where it stands. */

import { readSync, writeSync } from 'node:fs';
import type { MigrationLink, WaitingLink } from '@ringfence/core';
import type { ByteFlow } from '../control/byte-flow.ts';
import { FRAME, type Frame, type FrameLink, HEADER_BYTES } from '../control/frames.ts';
import { FramesInPlace } from '../control/frames-in-place.ts';
import { HostError } from '../failure.ts';
import { type Mailbox, ready } from './mailbox.ts';

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
  #sayWhole: (() => void) | undefined;

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
    void this.#link.send(FRAME.INPUT_END);
  }

  /**
   * Reads the socket by its number from now on, without the event loop: a guest that touches a page that is not here does so in the middle of a call.
   * The other end sends nothing between the two ways of reading.
   *
   * INPUT_END says that the link is lost which the daemon has with the other one. There may be another one: STARTED says so, and EVENT is the answer to
   * that, behind which nothing comes that was said over the lost one. When the daemon itself is gone, the next one says so in the `mailbox`. ERROR says that
   * there never will be another one.
   */
  wait(mailbox?: Mailbox): WaitingLink {
    const fd = this.#flow?.detach();
    if (fd === undefined) throw gone();
    const pause = new Int32Array(new SharedArrayBuffer(4));
    const sleep = (ms = LOOK_AGAIN_MS): void => void Atomics.wait(pause, 0, 0, ms);
    let way: ByteWay = {
      read: (into) => ready(() => readSync(fd, into)),
      write: (bytes, at) => ready(() => writeSync(fd, bytes, at)),
    };
    let frames = this.#frames;
    let isOver = false;
    /** The next one; throws when it says that none comes any more. */
    const nextFrame = (): Frame | undefined => {
      const frame = isOver ? undefined : frames.next();
      isOver ||= frame?.kind === FRAME.ERROR;
      if (isOver) throw gone();
      return frame;
    };
    const next = (): Uint8Array | undefined => {
      for (let frame = nextFrame(); frame !== undefined; frame = nextFrame()) {
        if (frame.kind === FRAME.INPUT_END) throw gone();
        if (frame.kind === FRAME.DATA) return bytesOf(frame.payload);
      }
      return undefined;
    };
    const isStarted = (): boolean => {
      for (let frame = nextFrame(); frame !== undefined; frame = nextFrame())
        if (frame.kind === FRAME.STARTED) return true;
      return false;
    };
    const send = (kind: number, message: Uint8Array): void => {
      const frame = Buffer.alloc(HEADER_BYTES + message.length);
      frame.writeUInt32BE(message.length + 1);
      frame[HEADER_BYTES - 1] = kind;
      frame.set(message, HEADER_BYTES);
      for (let at = 0; at < frame.length;) {
        const written = way.write(frame, at);
        if (written === undefined) sleep();
        else at += written;
      }
    };
    /** What `look` finds in what comes; undefined when nothing comes now and it is not waited for. */
    const found = <T>(look: () => T | undefined, wait: boolean, lookMs: number, mayChange = false): T | undefined => {
      for (;;) {
        const value = look();
        if (value !== undefined) return value;
        const bytes = way.read(frames.room());
        if (bytes === 0) {
          if (mailbox !== undefined) [way, frames] = [mailbox, new FramesInPlace()];
          if (mailbox === undefined || !mayChange) throw gone();
        } else if (bytes !== undefined) frames.came(bytes);
        else if (wait) sleep(lookMs);
        else return undefined;
      }
    };
    this.#sayWhole = () => {
      if (way === mailbox) send(FRAME.RESULT, new Uint8Array(0));
    };
    return {
      send: (message) => send(FRAME.DATA, message),
      receive: (wait) => found(next, wait, LOOK_AGAIN_MS),
      rejoin(wait) {
        const isThere = found(() => (isStarted() ? true : undefined), wait, LOOK_FOR_LINK_MS, true) === true;
        if (isThere) send(FRAME.EVENT, new Uint8Array(0));
        return isThere;
      },
    };
  }

  /** Nothing is missing any more: a daemon that was not there when the machine came hears it so. */
  whole(): void {
    try {
      this.#sayWhole?.();
    } catch {
      // It is gone as well.
    }
  }
}

/** What a connection, or what stands in for it, does at once: undefined when it cannot. */
interface ByteWay {
  /** 0 when nobody is there any more. */
  read(into: Uint8Array): number | undefined;
  write(bytes: Uint8Array, at: number): number | undefined;
}

function gone(): HostError {
  return new HostError('ended', 'the connection is gone');
}

/** Not as a Buffer, whose `slice` copies nothing: the core copies what it keeps of a message. */
function bytesOf({ buffer, byteOffset, length }: Buffer): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}
