/** Servers on this computer's loopback that guests talk to, each on a port that was free. */

import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createHttpServer, get } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';

export interface RunningServer {
  readonly port: number;
  close(): void;
}

async function listening(server: Server, host: string): Promise<RunningServer> {
  server.listen(0, host);
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}

/** Gives `content` for every path. */
export function httpServer(content: Uint8Array, host = '127.0.0.1'): Promise<RunningServer> {
  return listening(
    createHttpServer((_, response) => response.end(content)),
    host,
  );
}

/** Reads to the end, then answers with how much it was and its MD5 sum. */
export function sumServer(): Promise<RunningServer> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('md5');
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    socket.on('end', () => socket.end(`${bytes} ${hash.digest('hex')}\n`));
    socket.on('error', () => undefined);
  });
  return listening(server, '127.0.0.1');
}

/** Octets of a block (RFC 1350, 5). */
const TFTP_BLOCK_BYTES = 512;

/** Gives `content` for every name, by TFTP without options (RFC 1350), all from one port. */
export async function tftpServer(content: Uint8Array, host = '127.0.0.1'): Promise<RunningServer> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  const send = (block: number, port: number, address: string): void => {
    const from = (block - 1) * TFTP_BLOCK_BYTES;
    if (from > content.length) return;
    const data = content.subarray(from, from + TFTP_BLOCK_BYTES);
    socket.send(Buffer.concat([Buffer.from([0, 3, block >> 8, block & 0xff]), data]), port, address);
  };
  socket.on('message', (message, { address, port }) => {
    const [, operation] = message;
    if (operation === 1) send(1, port, address);
    if (operation === 4) send(message.readUInt16BE(2) + 1, port, address);
  });
  socket.bind(0, host);
  await once(socket, 'listening');
  return { port: socket.address().port, close: () => void socket.close() };
}

/** A name server that knows one name, as 192.0.2.77, and says of all others that there are none. */
export async function nameServer(name: string): Promise<RunningServer> {
  const socket = createSocket('udp4');
  const question = Buffer.concat([
    ...name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.alloc(1),
  ]);
  socket.on('message', (query, { address, port }) => {
    const end = 12 + query.subarray(12).indexOf(0) + 5;
    const isKnown = query.subarray(12, 12 + question.length).equals(question);
    const isA = query.readUInt16BE(end - 4) === 1;
    const answer = Buffer.from([
      ...query.subarray(0, 2),
      0x81,
      isKnown ? 0x80 : 0x83,
      0,
      1,
      0,
      isKnown && isA ? 1 : 0,
      0,
      0,
      0,
      0,
    ]);
    const record =
      isKnown && isA ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77]) : Buffer.alloc(0);
    socket.send(Buffer.concat([answer, query.subarray(12, end), record]), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { port: socket.address().port, close: () => void socket.close() };
}

/** A port that nobody listens to. */
export async function freePort(): Promise<number> {
  const server = await listening(createServer(), '127.0.0.1');
  server.close();
  return server.port;
}

export function httpGet(port: number, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', reject);
    }).on('error', reject);
  });
}

/** What comes back from a UDP port; asked again every second, for datagrams may get lost. */
export function udpAnswer(port: number, text: string): Promise<string> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    const ask = (): void => socket.send(text, port, '127.0.0.1');
    const timer = setInterval(ask, 1000);
    socket.once('message', (data) => {
      clearInterval(timer);
      socket.close();
      resolve(data.toString());
    });
    ask();
  });
}
