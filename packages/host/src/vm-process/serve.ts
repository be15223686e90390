/** Answers for machines on a socket that somebody else has opened. */

import type { Server } from 'node:net';
import { serveConnections } from '../control/connections.ts';
import { type ServedByName, serveConnection } from '../control/server.ts';

/** Connections at once, besides one for each machine: the daemon waits for its end over that. */
const MAXIMUM_CONNECTIONS = 256;

/** `machines` says how many there are, with forks. Gives what ends it, when everybody has their answer or took too long. */
export function serveOn(server: Server, vm: ServedByName, machines: () => number): () => Promise<void> {
  server.on('error', () => undefined);
  const most = (): number => MAXIMUM_CONNECTIONS + machines();
  return serveConnections(server, most, (socket) => void serveConnection(vm, socket));
}
