/** Sends datagrams of a network from a UDP socket of Node: what cannot be sent is lost, as everywhere, and nothing is thrown. */

import type { Socket } from 'node:dgram';

/** Bytes of datagrams that wait to be sent from one socket; more are lost. */
export const MAXIMUM_UDP_BACKLOG_BYTES = 1024 * 1024;

/** Sends a copy of `data`. */
export function sendDatagram(socket: Socket, data: Uint8Array, port: number, address: string): void {
  try {
    if (socket.getSendQueueSize() > MAXIMUM_UDP_BACKLOG_BYTES) return;
    socket.send(Uint8Array.from(data), port, address, () => undefined);
  } catch {
    // Port 0, which nobody can be sent to (RFC 768), or a socket that is closed.
  }
}
