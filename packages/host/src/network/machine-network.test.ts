/** A machine's place on a network, as its host has it. */

import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { openNetwork } from './machine-network.ts';
import { parsePublish } from './publish.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });

test('ports that are opened later are open then, and not of one that has left meanwhile', async () => {
  const hostPort = await freePort();
  const port = parsePublish(`${hostPort}:80`);
  if (typeof port === 'string') throw new Error(port);
  const settings = { net: 'user', ports: [port], capture: undefined, mac: undefined };
  const stays = await openNetwork(settings, 'stays', true);
  expect(await answers(hostPort)).toBe(false);
  await stays.openPorts();
  expect(await answers(hostPort)).toBe(true);
  await stays.close();
  const leaves = await openNetwork(settings, 'leaves', true);
  const opening = leaves.openPorts();
  await leaves.close();
  await opening;
  expect(await answers(hostPort)).toBe(false);
});
