/** Consoles over WebSockets, against a machine that is only pretended. */

import { createServer, request, type Server } from 'node:http';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ByteQueue } from '../control/byte-queue.ts';
import { type ControlSocket, openControlSocket } from '../control/control-socket.ts';
import type { ServedVM } from '../control/server.ts';
import { HostError } from '../failure.ts';
import { Consoles, MAXIMUM_INPUT_BYTES } from './consoles.ts';
import type { Machines } from './machines.ts';

const MAXIMUM_VIEWERS = 4;

let folder = '';
let server: Server;
let consoles: Consoles;
let socket: ControlSocket;
/** Those that look at the machine's console. */
let viewers = 0;
/** What the guest has read; it reads when this is settled. */
let read: Buffer[] = [];
let reads = Promise.withResolvers<void>();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-consoles-'));
  [viewers, read, reads] = [0, [], Promise.withResolvers<void>()];
  const vm: Partial<ServedVM> = {
    openConsole: () => {
      if (viewers >= MAXIMUM_VIEWERS) return Promise.reject(new HostError('too-many', 'so many look at it already'));
      viewers++;
      const output = new ByteQueue(1000);
      void output.push(Buffer.from('hello'));
      const { promise, resolve } = Promise.withResolvers<void>();
      void promise.then(() => viewers--);
      const write = async (bytes: Uint8Array): Promise<void> => {
        await reads.promise;
        read.push(Buffer.from(bytes));
      };
      return Promise.resolve({ write, output, close: () => (output.end(), resolve()) });
    },
  };
  socket = await openControlSocket(folder, 'web', vm as ServedVM);
  const reached = (name: string): string => name;
  consoles = new Consoles({ reached } as unknown as Machines, folder, () => undefined);
  server = createServer().on('upgrade', (asked, stream, head) => void consoles.upgrade(asked, stream, head));
  server.listen(join(folder, 'http'));
  await once(server, 'listening');
});
afterEach(async () => {
  reads.resolve();
  consoles.close();
  server.close();
  await socket.close();
  rmSync(folder, { recursive: true });
});

const open = (): WebSocket => new WebSocket(`ws+unix://${join(folder, 'http')}:/v1/vms/web/console`);

/** Asks for a console in words that are no handshake. */
async function ask(path: string): Promise<number | undefined> {
  const headers = { connection: 'Upgrade', upgrade: 'websocket' };
  const asked = request({ socketPath: join(folder, 'http'), path, headers, agent: false }).end();
  const [response] = (await once(asked, 'response')) as [{ statusCode: number; resume(): void }];
  response.resume();
  return response.statusCode;
}

test('a handshake that fails takes no place of those who look', async () => {
  for (let times = 0; times < 3 * MAXIMUM_VIEWERS; times++) expect(await ask('/v1/vms/web/console')).toBe(400);
  await expect.poll(() => viewers).toBe(0);
  const client = open();
  const [said] = (await once(client, 'message')) as [Buffer];
  expect([said.toString(), viewers]).toEqual(['hello', 1]);
  client.terminate();
  await expect.poll(() => viewers).toBe(0);
});

test('a name with an escape that is none is refused as such', async () => {
  expect(await ask('/v1/vms/%zz/console')).toBe(400);
  expect(viewers).toBe(0);
});

test('what is typed waits with who types it while the guest does not read, and arrives in its order', async () => {
  const client = open();
  await once(client, 'open');
  const sent = Buffer.from(Uint32Array.from({ length: 1024 * 1024 }, (_, index) => index).buffer);
  for (let at = 0; at < sent.length; at += 32 * 1024) client.send(sent.subarray(at, at + 32 * 1024));
  await new Promise((resolve) => setTimeout(resolve, 300));
  // The rest of what it may have in memory is the system's: buffers of two sockets.
  expect(client.bufferedAmount).toBeGreaterThan(sent.length - 2 * MAXIMUM_INPUT_BYTES - 1024 * 1024);
  reads.resolve();
  await expect.poll(() => read.reduce((sum, { length }) => sum + length, 0), { timeout: 5000 }).toBe(sent.length);
  expect(Buffer.concat(read).equals(sent)).toBe(true);
  client.terminate();
});
