/** Messages of a migration over a connection of frames, a FRAME.DATA each; and the same connection of a guest that waits for one where it stands. */

import { readSync, writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { MigrationLink, WaitingLink } from '@ringfence/core';
import { FRAME, type Frame, type FrameLink, HEADER_BYTES, MAXIMUM_FRAME_BYTES } from '../control/frames.ts';
import { HostError } from '../failure.ts';

/**
 * The messages among the frames of a connection with the daemon, which carries them. FRAME.INPUT_END says that they come no more, or go nowhere; the
 * connection itself stays for the answer.
 */
export function messagesOn(link: FrameLink): MigrationLink {
  return {
    send: (message) => passOn(link, message),
    listen(onMessage, onLost) {
      const hear = ({ kind, payload }: Frame): void => {
        if (kind === FRAME.DATA) onMessage(payload);
        else if (kind === FRAME.INPUT_END) onLost();
      };
      void eachFrame(link, hear).then(onLost);
    },
    close: () => void link.send(FRAME.INPUT_END),
  };
}

/** Bytes that may wait to be sent, so that a link is busy while who fills it, or carries it on, waits for a processor. */
const AHEAD_BYTES = 2 * 1024 * 1024;

/** Sends a message; resolves when there is room for more. */
export async function passOn(link: FrameLink, message: Uint8Array): Promise<void> {
  const sent = link.send(FRAME.DATA, message);
  if (link.stream.writableLength > AHEAD_BYTES) await sent;
}

/** Gives each frame to `hear`; resolves at the end of the connection, however that comes. */
export async function eachFrame(link: FrameLink, hear: (frame: Frame) => unknown): Promise<void> {
  try {
    for (let frame = await link.next(); frame !== undefined; frame = await link.next()) {
      const heard = hear(frame);
      if (heard instanceof Promise) await heard;
    }
  } catch {
    // What makes no sense is the end of it, too.
  }
  link.destroy();
}

/** Where Node keeps what a socket is to the system. */
const HANDLE = '_handle';

interface SocketHandle {
  readonly fd: number;
  readStop(): void;
}

/** How long the thread sleeps when nothing has come yet, in ms. */
const LOOK_AGAIN_MS = 0.05;
const READ_BYTES = 512 * 1024;

/**
 * Reads a socket by its number from now on, without the event loop: a guest that touches a page that is not here does so in the middle of a call.
 * The other end sends nothing between the two ways of reading.
 */
export function waitOn(socket: Socket): WaitingLink {
  // Node keeps the number of a socket to itself; nothing else reads at once.
  const { [HANDLE]: handle } = socket as unknown as Partial<Record<typeof HANDLE, SocketHandle>>;
  if (handle === undefined || handle.fd < 0) throw new HostError('ended', 'the connection is gone');
  handle.readStop();
  const { fd } = handle;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const sleep = (): void => void Atomics.wait(pause, 0, 0, LOOK_AGAIN_MS);
  let waiting = Buffer.alloc(0);
  const chunk = Buffer.allocUnsafe(READ_BYTES);
  const next = (): Uint8Array | undefined => {
    if (waiting.length < HEADER_BYTES) return undefined;
    const end = waiting.readUInt32BE() + HEADER_BYTES - 1;
    if (end < HEADER_BYTES || end > MAXIMUM_FRAME_BYTES + HEADER_BYTES)
      throw new HostError('protocol', 'what came is no message of Ringfence');
    if (waiting.length < end) return undefined;
    const [kind, message] = [waiting[HEADER_BYTES - 1], waiting.subarray(HEADER_BYTES, end)];
    waiting = waiting.subarray(end);
    if (kind === FRAME.INPUT_END) throw new HostError('ended', 'the connection is gone');
    return kind === FRAME.DATA ? message : next();
  };
  return {
    send(message) {
      const frame = Buffer.alloc(HEADER_BYTES + message.length);
      frame.writeUInt32BE(message.length + 1);
      frame[HEADER_BYTES - 1] = FRAME.DATA;
      frame.set(message, HEADER_BYTES);
      for (let at = 0; at < frame.length;) {
        const written = ready(() => writeSync(fd, frame, at));
        if (written === undefined) sleep();
        else at += written;
      }
    },
    receive(wait) {
      for (;;) {
        const message = next();
        if (message !== undefined) return message;
        const bytes = ready(() => readSync(fd, chunk));
        if (bytes === 0) throw new HostError('ended', 'the connection is gone');
        if (bytes !== undefined) waiting = Buffer.concat([waiting, chunk.subarray(0, bytes)]);
        else if (wait) sleep();
        else return undefined;
      }
    },
  };
}

/** undefined when it cannot be done at once. */
function ready(work: () => number): number | undefined {
  try {
    return work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    throw error;
  }
}
