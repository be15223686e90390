/** What counts as a sign of life of who is at the other end. */

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { FRAME, FrameLink } from '../control/frames.ts';
import { limitSilence } from './tls-link.ts';

const LIMIT_MS = 150;

let ours: Socket;
let theirs: Socket;
let link: FrameLink;
beforeEach(async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  ours = connect((server.address() as AddressInfo).port, '127.0.0.1');
  [theirs] = (await once(server, 'connection')) as [Socket];
  server.close();
  link = new FrameLink(ours);
  // Reading is what hears.
  link.stream.resume();
  theirs.resume();
});
afterEach(() => {
  ours.destroy();
  theirs.destroy();
});

/** For three times the limit one end says something every fifth of it; whether the connection is there then. */
async function isThereWhen(speaks: () => unknown): Promise<boolean> {
  for (let times = 0; times < 15; times++) {
    speaks();
    await sleep(LIMIT_MS / 5);
  }
  return !ours.destroyed;
}

test('what the other end takes is a sign of life, and not where it has to be heard', async () => {
  limitSilence(link, LIMIT_MS);
  expect(await isThereWhen(() => link.send(FRAME.EVENT))).toBe(true);
  limitSilence(link, LIMIT_MS, 'heard');
  expect(await isThereWhen(() => link.send(FRAME.EVENT))).toBe(false);
});

test('who says something is heard', async () => {
  limitSilence(link, LIMIT_MS, 'heard');
  expect(await isThereWhen(() => theirs.write('x'))).toBe(true);
});

test('without a limit nobody is given up', async () => {
  limitSilence(link, LIMIT_MS, 'heard');
  limitSilence(link, 0);
  expect(await isThereWhen(() => undefined)).toBe(true);
});

test('who neither says nor takes anything is given up, whatever was written to him', async () => {
  theirs.pause();
  // More than the system keeps for both ends.
  void link.send(FRAME.DATA, new Uint8Array(15 * 1024 * 1024));
  limitSilence(link, LIMIT_MS);
  expect(await isThereWhen(() => undefined)).toBe(false);
});
