/** Serial consoles by WebSocket (RFC 6455): binary messages are bytes, both ways. */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { ApiError, ERRORS, type Failure, OPERATIONS } from '@ringfence/api';
import { WebSocket, WebSocketServer } from 'ws';
import { RemoteVM } from '../control/client.ts';
import { HostError } from '../failure.ts';
import { failureOf } from './failures.ts';
import type { Machines } from './machines.ts';

/** What may wait for somebody who does not keep up; more is left out, as the console's own viewers have it. */
const MAXIMUM_BUFFERED_BYTES = 1024 * 1024;
const MAXIMUM_MESSAGE_BYTES = 64 * 1024;
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
      const { name, run } = this.#machines.find(decodeURIComponent(key));
      if (run === undefined) throw new HostError('wrong-state', `the virtual machine "${name}" does not run`);
      const viewer = await RemoteVM.at(name, this.#sockets).openConsole();
      this.#server.handleUpgrade(request, socket, head, (client) => {
        client.on('error', () => client.terminate());
        client.on('close', () => viewer.close());
        client.on('message', (data: Buffer) => void viewer.write(Uint8Array.from(data)));
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

function refuse(socket: Duplex, failure: Failure): void {
  const body = JSON.stringify(failure);
  socket.end(
    `HTTP/1.1 ${ERRORS[failure.code].status} Refused\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
