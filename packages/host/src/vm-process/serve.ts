/** Answers for machines on a socket that somebody else has opened. */

import type { Server } from 'node:net';
import { serveConnections } from '../control/connections.ts';
import { type ServedByName, serveConnection } from '../control/server.ts';

const MAXIMUM_CONNECTIONS = 256;

/** Gives what ends it, when everybody has their answer or took too long. */
export function serveOn(server: Server, vm: ServedByName, most: number = MAXIMUM_CONNECTIONS): () => Promise<void> {
  server.on('error', () => undefined);
  return serveConnections(server, most, (socket) => void serveConnection(vm, socket));
}
