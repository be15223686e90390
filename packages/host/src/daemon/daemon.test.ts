/** The daemon on its socket: who may ask it, what it answers, and that there is one. */

import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { dirname, join } from 'node:path';
import process, { execPath } from 'node:process';
import { Validator } from '@seriousme/openapi-schema-validator';
import parsePrometheus from 'parse-prometheus-text-format';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connectDaemon } from './connect.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { MAXIMUM_FOLLOWERS } from './event-log.ts';
import { openLog } from './daemon-log.ts';

let folder = '';
let daemon: Daemon;
const runtime = process.env['XDG_RUNTIME_DIR'];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringfence-host-'));
  process.env['XDG_RUNTIME_DIR'] = folder;
  daemon = await startDaemon({ stateFolder: join(folder, 'state'), version: '1.2.3' });
});
afterEach(async () => {
  await daemon.close();
  if (runtime === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = runtime;
  rmSync(folder, { recursive: true });
});

/** As a program in any language asks. */
function ask(path: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    request({ socketPath: daemon.socket, path, agent: false }, (response) => {
      let body = '';
      response.on('data', (bytes: Buffer) => (body += bytes.toString()));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    })
      .on('error', reject)
      .end();
  });
}

test('says what it is and has, and what can be asked', async () => {
  const client = connectDaemon();
  expect(await client.ask('host.inspect', {})).toMatchObject({ version: '1.2.3', pid: process.pid, machines: {} });
  expect(await client.ask('vm.list', {})).toEqual([]);
  await expect(client.ask('vm.inspect', { vm: 'web' })).rejects.toMatchObject({
    code: 'not-found',
    message: 'there is no virtual machine "web"',
  });
  const { body } = await ask('/v1/openapi.json');
  expect((await new Validator().validate(JSON.parse(body) as never)).valid).toBe(true);
});

test("its metrics are Prometheus's text", async () => {
  await connectDaemon().ask('vm.list', {});
  const { body } = await ask('/metrics');
  const families = parsePrometheus(body);
  const requests = families.find(({ name }) => name === 'ringfence_requests_total');
  expect(requests?.type).toBe('COUNTER');
  expect(requests?.metrics).toContainEqual({ value: '1', labels: { operation: 'vm.list', status: '200' } });
  expect(families.find(({ name }) => name === 'ringfence_request_seconds')?.type).toBe('HISTOGRAM');
});

test('only its owner can open the socket', async () => {
  expect(statSync(dirname(daemon.socket)).mode & 0o777).toBe(0o700);
  expect(statSync(daemon.socket).mode & 0o777).toBe(0o600);
  // Somebody opened it to others: nobody is answered until that is mended.
  chmodSync(daemon.socket, 0o666);
  await expect(connectDaemon().ask('vm.list', {})).rejects.toMatchObject({ code: 'forbidden' });
  chmodSync(daemon.socket, 0o600);
  expect(await connectDaemon().ask('vm.list', {})).toEqual([]);
});

const canBeAnother = process.platform === 'linux' && process.getuid?.() === 0;
test.skipIf(!canBeAnother)('another user is refused, even where the folders were opened', async () => {
  const program = `
    const asked = require('node:http').request({ socketPath: process.argv[1], path: '/v1/vms' }, (response) => {
      console.log(response.statusCode);
      process.exit();
    });
    asked.on('error', ({ code }) => (console.log(code), process.exit()));
    asked.end();`;
  const another = async (): Promise<string> => {
    const words = ['--reuid=65534', '--regid=65534', '--clear-groups', execPath, '--eval', program, daemon.socket];
    const { stdout, stderr } = await promisify(execFile)('setpriv', words, { timeout: 10_000 });
    return stdout.trim() || stderr;
  };
  expect(await another()).toBe('EACCES');
  for (const path of [folder, dirname(dirname(daemon.socket)), dirname(daemon.socket)]) chmodSync(path, 0o755);
  expect(await another()).toBe('EACCES');
  chmodSync(daemon.socket, 0o666);
  expect(await another()).toBe('403');
});

test('there is one for a state, and one for a socket', async () => {
  const other = (stateFolder: string): Promise<Daemon> =>
    startDaemon({ stateFolder: join(folder, stateFolder), version: '' });
  await expect(other('state')).rejects.toMatchObject({ code: 'unavailable' });
  await expect(other('other')).rejects.toMatchObject({ code: 'unavailable' });
  // The first one is none the worse for it.
  expect(await connectDaemon().ask('vm.list', {})).toEqual([]);
});

test('whoever follows events is let go when it ends, and hears that nobody is there afterwards', async () => {
  const client = connectDaemon();
  const following = (async () => {
    let count = 0;
    for await (const { seq } of client.events({})) count += seq;
    return count;
  })();
  following.catch(() => undefined);
  await client.ask('vm.list', {});
  await daemon.close();
  expect(await following).toBe(0);
  await expect(client.ask('vm.list', {})).rejects.toMatchObject({ code: 'unavailable' });
  daemon = await startDaemon({ stateFolder: join(folder, 'state'), version: '' });
});

test('who follows events when there is no more room for it hears that at once', async () => {
  const client = connectDaemon();
  const leaving = new AbortController();
  const follow = (): Promise<unknown> => client.events({}, leaving.signal).next();
  const following = Array.from({ length: MAXIMUM_FOLLOWERS }, follow);
  await expect.poll(() => ask('/v1/events').then(({ status }) => status)).toBe(503);
  await expect(follow()).rejects.toMatchObject({ code: 'too-many' });
  leaving.abort();
  await Promise.allSettled(following);
});

test('its log has a bounded size', async () => {
  const path = join(folder, 'log');
  const { log, close } = openLog(path, { size: '2K', files: 3 });
  for (let line = 0; line < 100; line++) {
    log.info({ line, text: 'x'.repeat(200) }, 'something');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await close();
  const files = readdirSync(path);
  expect(files.length).toBeGreaterThan(1);
  expect(files.length).toBeLessThanOrEqual(4);
  for (const name of files) expect(statSync(join(path, name)).size).toBeLessThan(8 * 1024);
});
