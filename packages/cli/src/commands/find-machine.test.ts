import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { daemonSocket } from '@ringfence/host/daemon-client';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { findMachine } from './find-machine.ts';

let folder: string;
/** In the place of a daemon, which says in which state a machine is. */
let server: Server;
let state: string | undefined;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-find-'));
  vi.stubEnv('XDG_RUNTIME_DIR', folder);
  const path = daemonSocket();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  server = createServer((_request, response) => {
    response.writeHead(state === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(state === undefined ? { code: 'not-found', message: 'there is none' } : machine(state)),
    );
  }).listen(path);
  await once(server, 'listening');
});
afterEach(() => {
  server.close();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const machine = (now: string): unknown => ({
  id: '01234567-89ab-4cde-8f01-23456789abcd',
  name: 'web',
  state: now,
  folder: '/machines/web',
  image: 'tiny',
  suite: 'stable',
  cpus: 1,
  memoryBytes: 1,
  disks: [],
  networks: [],
  createdAt: '2026-01-01T00:00:00.000Z',
});

test.each([
  [undefined, 'not-found', 'there is no virtual machine "web"'],
  ['stopped', 'wrong-state', 'the virtual machine "web" is stopped, and "exec" is for one that is running'],
  ['starting', 'wrong-state', 'the virtual machine "web" is starting, and "exec" is for one that is running'],
  [
    'running',
    'unavailable',
    'the virtual machine "web" is running, and its process cannot be reached: its socket is gone',
  ],
  [
    'paused',
    'unavailable',
    'the virtual machine "web" is paused, and its process cannot be reached: its socket is gone',
  ],
])('of one that has no socket and is %s it is said what that means', async (now, code, message) => {
  state = now;
  await expect(findMachine('web', 'exec')).rejects.toMatchObject({
    code,
    message: expect.stringContaining(message) as string,
  });
});
