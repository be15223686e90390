/** A machine that waits for pages where it stands: what it hears of its daemon, and of the next one. */

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WaitingLink } from '@ringfence/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FRAME, FrameLink } from '../control/frames.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { Mailbox, openMailbox } from './mailbox.ts';
import { MessageLink } from './message-link.ts';

let folder: MachineFolder;
let server: Server;
/** The daemon's end, and how the process waits. */
let daemon: FrameLink;
let messages: MessageLink;
let waiting: WaitingLink;

beforeEach(async () => {
  folder = machineFolder(mkdtempSync(join(tmpdir(), 'ringfence-link-')));
  mkdirSync(folder.run);
  server = createServer().listen(join(folder.path, 'socket'));
  await once(server, 'listening');
  const socket = connect(join(folder.path, 'socket'));
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
const rejoined = (): boolean => waiting.rejoin?.(false) ?? false;

test('whose daemon is gone hears the next one', async () => {
  await say(daemon, 'a page');
  await expect.poll(heard).toBe('a page');
  daemon.destroy();
  await expect.poll(() => attempt(heard)).toBe('ended');
  expect(rejoined(), 'nobody has come yet').toBe(false);
  daemon = await openMailbox(folder);
  await daemon.send(FRAME.STARTED);
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
    daemon = await openMailbox(folder);
    await daemon.send(FRAME.STARTED);
    await expect.poll(rejoined).toBe(true);
  }
});

test('says nothing of being whole to the daemon that has answered for it', async () => {
  messages.whole();
  waiting.send(Buffer.from('last'));
  expect((await daemon.next())?.payload.toString()).toBe('last');
});

test.each(['its daemon', 'the next daemon'])('waits no more when %s says that nothing comes', async (who) => {
  if (who !== 'its daemon') {
    daemon.destroy();
    await expect.poll(() => attempt(heard)).toBe('ended');
    daemon = await openMailbox(folder);
  }
  await daemon.send(FRAME.ERROR);
  await expect.poll(() => attempt(rejoined)).toBe('ended');
  expect(attempt(heard)).toBe('ended');
});

/** What it gives, or the code of why it gives nothing. */
function attempt(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return (error as { readonly code?: unknown }).code;
  }
}
