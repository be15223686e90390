/**
 * The servers that guests talk to in the benchmark of networks, in a process of their own so that they are nobody's burden: one that sends
 * without end, one that reads without end, one that gives every octet back. It writes its three ports to stdout, and ends with its stdin.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

const CHUNK = Buffer.alloc(256 * 1024);

function sendForever(socket: Socket): void {
  const more = (): void => {
    while (!socket.destroyed && socket.write(CHUNK));
  };
  socket.on('drain', more);
  more();
}

const servers = [
  sendForever,
  (socket: Socket): void => void socket.resume(),
  (socket: Socket): void => {
    socket.setNoDelay(true);
    socket.pipe(socket);
  },
].map((serve) =>
  createServer((socket) => {
    socket.on('error', () => socket.destroy());
    serve(socket);
  }).listen(0, '127.0.0.1'),
);
await Promise.all(servers.map((server) => once(server, 'listening')));
process.stdout.write(`${servers.map((server) => (server.address() as AddressInfo).port).join(' ')}\n`);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
