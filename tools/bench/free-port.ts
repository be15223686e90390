/** For programs that publish a port and want one that nobody has. */

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** A TCP port of this computer's loopback that nobody has at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
