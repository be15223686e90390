/** A machine that waits for pages where it stands: what it hears of its daemon, and of the next one. */

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { WaitingLink } from '@ringfence/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FRAME, FrameLink } from '../control/frames.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { Mailbox, missesForEver, openMailbox } from './mailbox.ts';
import { MessageLink } from './message-link.ts';

let folder: MachineFolder;
let server: Server;
let socket: Socket;
/** The daemon's end, and how the process waits. */
let daemon: FrameLink;
let messages: MessageLink;
let waiting: WaitingLink;

beforeEach(async () => {
  folder = machineFolder(mkdtempSync(join(tmpdir(), 'ringfence-link-')));
  mkdirSync(folder.run);
  server = createServer().listen(join(folder.path, 'socket'));
  await once(server, 'listening');
  socket = connect(join(folder.path, 'socket'));
  const [accepted] = (await once(server, 'connection')) as [Socket];
  daemon = new FrameLink(accepted);
  messages = new MessageLink(new FrameLink(socket));
  messages.listen(
    () => undefined,
    () => undefined,
  );
  waiting = messages.wait(new Mailbox(folder));
});
afterEach(() => {
  daemon.destroy();
  server.close();
  rmSync(folder.path, { recursive: true });
});

const heard = (): string | undefined => {
  const message = waiting.receive(false);
  return message && Buffer.from(message).toString();
};
const say = (link: FrameLink, text: string): Promise<void> => link.send(FRAME.DATA, Buffer.from(text));
/** As the process sees it. */
async function daemonGone(): Promise<void> {
  daemon.destroy();
  await expect.poll(() => attempt(heard)).toBe('ended');
}

/** Another one says that it is there. */
async function nextDaemon(): Promise<void> {
  daemon = await openMailbox(folder);
  await daemon.send(FRAME.STARTED);
}

const rejoined = (): boolean => waiting.rejoin?.(false) ?? false;

test('whose daemon is gone hears the next one', async () => {
  await say(daemon, 'a page');
  await expect.poll(heard).toBe('a page');
  await daemonGone();
  expect(rejoined(), 'nobody has come yet').toBe(false);
  await nextDaemon();
  await say(daemon, 'another page');
  await expect.poll(rejoined).toBe(true);
  expect((await daemon.next())?.kind).toBe(FRAME.EVENT);
  expect(heard()).toBe('another page');
  waiting.send(Buffer.from('more'));
  expect((await daemon.next())?.payload.toString()).toBe('more');
  messages.whole();
  expect((await daemon.next())?.kind).toBe(FRAME.RESULT);
});

test('waits for the one after it when that is gone as well', async () => {
  for (let time = 0; time < 2; time++) {
    daemon.destroy();
    await expect.poll(() => attempt(heard)).toBe('ended');
    await nextDaemon();
    await expect.poll(rejoined).toBe(true);
  }
});

test('says nothing of being whole to the daemon that has answered for it', async () => {
  messages.whole();
  waiting.send(Buffer.from('last'));
  expect((await daemon.next())?.payload.toString()).toBe('last');
});

test('whose daemon is killed in the middle of saying something hears the next one', async () => {
  await say(daemon, 'half of it');
  // What it has not read is why the connection is reset, and not only ended.
  for (let count = 0; count < 10; count++) waiting.send(Buffer.alloc(1000));
  daemon.destroy();
  await expect.poll(() => attempt(() => waiting.send(Buffer.alloc(1000)))).toBe('ended');
  expect([attempt(heard), rejoined()]).toEqual(['ended', false]);
  messages.close();
  await nextDaemon();
  await expect.poll(rejoined).toBe(true);
});

test('looks again when a daemon is gone that has said that it is there', async () => {
  await daemonGone();
  await nextDaemon();
  // What it said is there, and nobody hears the answer.
  rmSync(folder.pagesOut);
  for (let time = 0; time < 5; time++) {
    await turn();
    expect(rejoined()).toBe(false);
  }
  daemon.destroy();
  await nextDaemon();
  await expect.poll(rejoined).toBe(true);
});

test('that is gone before anybody waits is another daemon to begin with', async () => {
  socket.destroy();
  const late = new MessageLink(new FrameLink(socket));
  late.listen(
    () => undefined,
    () => undefined,
  );
  waiting = late.wait(new Mailbox(folder));
  expect([attempt(heard), rejoined()]).toEqual(['ended', false]);
  await nextDaemon();
  await expect.poll(rejoined).toBe(true);
});

test('waits no more when nothing comes any more', async () => {
  writeFileSync(folder.cameFrom, 'a fingerprint');
  await daemonGone();
  expect(rejoined()).toBe(false);
  missesForEver(folder);
  expect(attempt(() => waiting.rejoin?.(true))).toBe('ended');
});

/** What it gives, or the code of why it gives nothing. */
function attempt(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return (error as { readonly code?: unknown }).code;
  }
}
