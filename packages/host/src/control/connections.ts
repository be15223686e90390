/** The connections of a server, so that it can end: what is under way may come to its end, for a while. */

import type { Server, Socket } from 'node:net';

/** Answers that are being given when the machine ends: how it was stopped. */
const GRACE_MS = 1000;

/** Has `serve` answer on each connection, at most `most` at once, and turns others away. Gives what ends the server: resolves when nobody is connected any more. */
export function serveConnections(
  server: Server,
  most: () => number,
  serve: (socket: Socket) => void,
): () => Promise<void> {
  const connections = new Set<Socket>();
  server.on('connection', (socket) => {
    if (connections.size >= most()) {
      socket.destroy();
      return;
    }
    connections.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => connections.delete(socket));
    serve(socket);
  });
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
