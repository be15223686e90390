/** Who reaches the port of a daemon, trusted or not. */

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FRAME } from '../control/frames.ts';
import { type Identity, identityIn } from './identity.ts';
import { answerOf } from './protocol.ts';
import { type Address, connectToDaemon, type Listening, listenForDaemons, parseAddress } from './tls-link.ts';
import { Trust } from './trust.ts';

let path: string;
let listening: Listening;
let to: Address;
let identity: Identity;
let trust: Trust;
const sockets: Socket[] = [];
beforeEach(async () => {
  path = mkdtempSync(join(tmpdir(), 'ringfence-tls-'));
  for (const name of ['here', 'there']) mkdirSync(join(path, name));
  const there = identityIn(join(path, 'there'));
  identity = identityIn(join(path, 'here'));
  [trust] = [new Trust(join(path, 'here'))];
  const trusting = new Trust(join(path, 'there'));
  trust.add(there.fingerprint);
  trusting.add(identity.fingerprint);
  listening = await listenForDaemons(
    there,
    trusting,
    parseAddress('127.0.0.1:0'),
    (link) => void link.send(FRAME.STARTED),
    (link, { code, message }) =>
      void link.sendJson(FRAME.ERROR, { from: 'host', code, message }).then(() => link.end()),
  );
  to = parseAddress(listening.address);
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await listening.close();
  rmSync(path, { recursive: true });
});

/** Connections that say nothing. */
async function silent(count: number, localAddress = '127.0.0.1'): Promise<Socket[]> {
  const made = Array.from({ length: count }, () => connect({ ...to, localAddress }).on('error', () => undefined));
  sockets.push(...made);
  await Promise.all(made.map((socket) => once(socket, 'connect')));
  return made;
}

async function isServed(): Promise<boolean> {
  const { link } = await connectToDaemon(identity, trust, to);
  sockets.push(link.stream as Socket);
  return (await answerOf(link, FRAME.STARTED)).kind === FRAME.STARTED;
}

test('whoever says nothing keeps no daemon out', async () => {
  await silent(200);
  expect(await isServed()).toBe(true);
});

test('of those who say nothing the oldest one of the address that has most of them goes', async () => {
  const [alone] = await silent(1, '127.0.0.2');
  const [first, ...others] = await silent(64);
  await once(first!, 'close');
  expect([alone!.closed, others.some(({ closed }) => closed)]).toEqual([false, false]);
});

test('who is not trusted hears it, and keeps no daemon out either', async () => {
  const stranger = identityIn(join(path, 'there', '..'));
  const said = await new Promise<string>((resolve) => {
    for (let count = 0; count < 40; count++) {
      const socket = connectTls({ ...to, key: stranger.pem, cert: stranger.pem, rejectUnauthorized: false });
      sockets.push(socket.on('error', () => undefined));
      if (count === 39) socket.once('data', (bytes) => resolve(bytes.toString()));
    }
  });
  expect(said).toContain(`ringfence trust ${stranger.fingerprint}`);
  expect(await isServed()).toBe(true);
});

test('a daemon has no more than so many connections, and the next one is told so', async () => {
  for (let count = 0; count < 32; count++) expect(await isServed()).toBe(true);
  await expect(isServed()).rejects.toMatchObject({ code: 'too-many' });
  sockets.pop()?.destroy();
  const [first] = sockets.splice(0, 1);
  first?.destroy();
  await once(first!, 'close');
  await expect.poll(() => isServed().catch(() => false)).toBe(true);
});
