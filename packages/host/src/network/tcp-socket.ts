/** A TCP socket of Node as a network of core sees it (HostTcp), for connections in both directions. */

import { connect, type Socket, type TcpNetConnectOpts } from 'node:net';
import process from 'node:process';
import type { HostFailure, HostTcp, TcpEvents } from '@ringfence/core';

/** Connecting takes no longer than this; hosts that do not answer are given up sooner than TCP would. */
const CONNECT_TIMEOUT_MS = 30_000;
/** Buffers of this size are used again and again. */
const BUFFER_BYTES = 64 * 1024;
/** Buffers that wait to be used again. */
const MAXIMUM_SPARE_BUFFERS = 64;

/** The most that is read at once from a host that a guest asked for. */
const READ_BYTES = 256 * 1024;

const spareBuffers: Uint8Array[] = [];
let readBuffer: Uint8Array | undefined;

/**
 * Connects a guest with a host. All such sockets read into the same memory: what was read is copied before the next one reads (not
 * on Windows, where the system fills it meanwhile). Memory of its own for every read has the garbage collector work a tenth of the time.
 */
export function connectTcp(options: TcpNetConnectOpts, events: TcpEvents): HostTcp {
  if (process.platform === 'win32') return hostTcp(connect(options), events);
  const memory = (readBuffer ??= new Uint8Array(READ_BYTES));
  const callback = (count: number): boolean => {
    events.data(memory.subarray(0, count));
    return true;
  };
  // Node asks for it at the start, and again when the callback is done with what was read.
  const buffer = (): Uint8Array => memory.subarray(0, events.nextRead());
  return hostTcp(connect({ ...options, onread: { buffer, callback } }), events);
}

/** Connects a socket with the events of a network's connection. A socket that is connected already says so at once. */
export function hostTcp(socket: Socket, events: TcpEvents): HostTcp {
  let failure: HostFailure | undefined;
  let isOver = false;
  socket.setNoDelay(true);
  if (socket.connecting) {
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => {
      failure = 'timed-out';
      socket.destroy();
    });
    socket.once('connect', () => {
      socket.setTimeout(0);
      events.connected();
    });
  }
  // Of one that reads into our memory there is no such event; the listener makes it read.
  socket.on('data', (bytes: Buffer<ArrayBuffer>) => {
    events.data(bytes);
    discard(bytes);
  });
  socket.on('end', () => events.ended());
  socket.on('error', (error) => {
    failure ??= failureOf(error);
  });
  socket.on('close', () => {
    isOver = true;
    events.closed(failure);
  });
  /** What came while the system had not taken what was given to it before: a block that is not full yet. */
  let tail: Uint8Array | undefined;
  let tailBytes = 0;
  const give = (buffer: Uint8Array, length: number): void => {
    let isHeld = true;
    const release = (): void => {
      if (isHeld && spareBuffers.length < MAXIMUM_SPARE_BUFFERS) spareBuffers.push(buffer);
      isHeld = false;
    };
    socket.write(buffer.subarray(0, length), () => {
      release();
      if (isOver) return;
      if (socket.writableLength === 0) giveTail();
      events.written();
    });
    if (socket.writableLength === 0) release();
  };
  const giveTail = (): void => {
    const [buffer, length] = [tail, tailBytes];
    tail = undefined;
    tailBytes = 0;
    if (buffer !== undefined) give(buffer, length);
  };
  return {
    get queuedBytes() {
      return socket.writableLength + tailBytes;
    },
    // INVARIANT: of the blocks that wait, all are full but the first and the last: a guest that sends single octets fills no more memory.
    write(bytes) {
      if (isOver || socket.destroyed) return;
      for (let done = 0; done < bytes.length;) {
        tail ??= spareBuffers.pop() ?? new Uint8Array(BUFFER_BYTES);
        const count = Math.min(bytes.length - done, BUFFER_BYTES - tailBytes);
        tail.set(count === bytes.length ? bytes : bytes.subarray(done, done + count), tailBytes);
        done += count;
        tailBytes += count;
        if (tailBytes === BUFFER_BYTES || socket.writableLength === 0) giveTail();
      }
    },
    end: () => {
      giveTail();
      socket.end();
    },
    reset: () => {
      // Node would wait until a socket that is still connecting has done so.
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
  };
}

/**
 * Gives the memory of a chunk back that was read and copied. Node reads each into 64 KiB of its own, which the garbage collector would free much
 * later, and which it collects more often for.
 */
function discard({ buffer, length }: Buffer<ArrayBuffer>): void {
  if (!buffer.detached && buffer.byteLength === length) buffer.transfer(0);
}

function failureOf(error: unknown): HostFailure {
  switch (error instanceof Error && 'code' in error ? error.code : undefined) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
    case 'EADDRNOTAVAIL':
    case 'ENETDOWN':
      return 'unreachable';
    case 'ETIMEDOUT':
      return 'timed-out';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset';
    default:
      return 'failed';
  }
}
