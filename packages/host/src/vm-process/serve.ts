/** Answers for a machine on a socket that somebody else has opened. */

import type { Server, Socket } from 'node:net';
import { type ServedVM, serveConnection } from '../control/server.ts';

const MAXIMUM_CONNECTIONS = 256;
/** How long those who wait for an answer may take to get it when the machine has ended. */
const GRACE_MS = 1000;

/** Gives what ends it, when everybody has their answer or took too long. */
export function serveOn(server: Server, vm: ServedVM): () => Promise<void> {
  const connections = new Set<Socket>();
  server.maxConnections = MAXIMUM_CONNECTIONS;
  server.on('connection', (socket) => {
    connections.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => connections.delete(socket));
    void serveConnection(vm, socket);
  });
  server.on('error', () => undefined);
  return () =>
    new Promise((resolve) => {
      const grace = setTimeout(() => {
        for (const socket of connections) socket.destroy();
      }, GRACE_MS);
      server.close(() => {
        clearTimeout(grace);
        resolve();
      });
    });
}
