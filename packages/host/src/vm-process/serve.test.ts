import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ServedVM } from '../control/server.ts';
import { serveOn } from './serve.ts';

/** For whoever asks, however many machines there are. */
const FOR_OTHERS = 256;

let folder: string;
let machines: number;
const server = createServer();
const connected: Socket[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-serve-'));
  serveOn(
    server,
    () => ({}) as ServedVM,
    () => machines,
  );
  await once(server.listen(join(folder, 'socket')), 'listening');
});
afterEach(() => {
  for (const each of connected) each.destroy();
  server.close();
  rmSync(folder, { recursive: true });
});

/** Connects so often; gives how many of these are still connected. */
async function connections(count: number): Promise<() => number> {
  const closed = new Set<Socket>();
  for (let index = 0; index < count; index++) {
    const socket = connect(join(folder, 'socket'));
    socket.on('error', () => undefined).once('close', () => closed.add(socket));
    connected.push(socket);
    await once(socket, 'connect');
  }
  return () => count - closed.size;
}

test('a thousand machines of one process can all be waited for, and others ask it meanwhile', async () => {
  machines = 1;
  await expect.poll(await connections(FOR_OTHERS + 1 + 10)).toBe(FOR_OTHERS + 1);
  machines = 1000;
  await expect.poll(await connections(1000)).toBe(999);
});
