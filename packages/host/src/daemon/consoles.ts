/** Serial consoles by WebSocket (RFC 6455): binary messages are bytes, both ways. */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { ApiError, ERRORS, type Failure, OPERATIONS } from '@ringfence/api';
import { WebSocket, WebSocketServer } from 'ws';
import { RemoteVM } from '../control/client.ts';
import { HostError } from '../failure.ts';
import type { ConsoleViewer } from '../guest/calls.ts';
import { failureOf } from './failures.ts';
import type { Machines } from './machines.ts';

/** What may wait for somebody who does not keep up; more is left out, as the console's own viewers have it. */
const MAXIMUM_BUFFERED_BYTES = 1024 * 1024;
const MAXIMUM_MESSAGE_BYTES = 64 * 1024;
/** What may wait for a guest that does not read it; who sends more is not listened to until it has. */
export const MAXIMUM_INPUT_BYTES = 256 * 1024;
/** How often it is looked whether somebody is there still who is not listened to. */
const LOOK_MS = 5000;
/** Of RFC 6455 section 7.4.1. */
const CLOSE = { NORMAL: 1000, FAILED: 1011 } as const;

const PATH = new RegExp(`^${OPERATIONS['vm.console'].path.replace('{vm}', '([^/]+)')}$`);

export class Consoles {
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAXIMUM_MESSAGE_BYTES,
    perMessageDeflate: false,
  });
  readonly #machines: Machines;
  readonly #sockets: string;
  readonly #guard: () => ApiError | undefined;

  /** `guard` refuses everybody when it gives something. */
  constructor(machines: Machines, sockets: string, guard: () => ApiError | undefined) {
    this.#machines = machines;
    this.#sockets = sockets;
    this.#guard = guard;
  }

  /** For the server's event `upgrade`. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => undefined);
    try {
      const refusal = this.#guard();
      if (refusal !== undefined) throw refusal;
      const { pathname } = new URL(request.url ?? '/', 'http://ringfence');
      const [, key] = PATH.exec(pathname) ?? [];
      if (key === undefined) throw new HostError('not-found', `there is no console at ${pathname}`);
      const name = this.#machines.reached(decoded(key));
      const viewer = await RemoteVM.at(name, this.#sockets).openConsole();
      // However its connection ends, also before it was a WebSocket's.
      socket.once('close', () => viewer.close());
      if (socket.destroyed) return viewer.close();
      this.#server.handleUpgrade(request, socket, head, (client) => {
        client.on('error', () => client.terminate());
        takeInput(client, viewer);
        void (async () => {
          for await (const bytes of viewer.output)
            if (client.readyState === WebSocket.OPEN && client.bufferedAmount < MAXIMUM_BUFFERED_BYTES)
              client.send(bytes);
        })().then(
          () => client.close(CLOSE.NORMAL, 'the virtual machine has ended'),
          () => client.close(CLOSE.FAILED),
        );
      });
    } catch (error) {
      refuse(socket, failureOf(error));
    }
  }

  close(): void {
    for (const client of this.#server.clients) client.terminate();
    this.#server.close();
  }
}

/** What comes goes to the guest in its order, and no faster than that takes it. */
export function takeInput(client: WebSocket, viewer: Pick<ConsoleViewer, 'write'>): void {
  let waitingBytes = 0;
  let written = Promise.resolve();
  let look: ReturnType<typeof setInterval> | undefined;
  const write = async (before: Promise<void>, data: Buffer): Promise<void> => {
    await before;
    await viewer.write(Uint8Array.from(data)).catch(() => client.terminate());
    waitingBytes -= data.length;
    if (look === undefined || waitingBytes >= MAXIMUM_INPUT_BYTES) return;
    clearInterval(look);
    look = undefined;
    client.resume();
  };
  client.on('message', (data: Buffer) => {
    waitingBytes += data.length;
    written = write(written, data);
    if (look !== undefined || waitingBytes < MAXIMUM_INPUT_BYTES) return;
    client.pause();
    // Who is not listened to is not heard to go either; writing shows it.
    look = setInterval(() => client.ping(), LOOK_MS);
  });
  client.once('close', () => clearInterval(look));
}

/** A part of a path, without its escapes (RFC 3986 section 2.1). */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    throw new HostError('bad-argument', `"${part}" has an escape that is none`, error);
  }
}

function refuse(socket: Duplex, failure: Failure): void {
  const body = JSON.stringify(failure);
  socket.end(
    `HTTP/1.1 ${ERRORS[failure.code].status} Refused\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
