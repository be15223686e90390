import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FRAME, type FrameLink, HEADER_BYTES } from '../control/frames.ts';
import { type MachineFolder, machineFolder } from '../machine-folder/layout.ts';
import { Mailbox, openMailbox } from './mailbox.ts';

let folder: MachineFolder;
let daemon: FrameLink | undefined;

beforeEach(() => {
  folder = machineFolder(mkdtempSync(join(tmpdir(), 'ringfence-mailbox-')));
  mkdirSync(folder.run);
});
afterEach(() => {
  daemon?.destroy();
  rmSync(folder.path, { recursive: true });
});

const came = Buffer.alloc(1024);

test('a process hears one daemon after the other, and when one is gone', async () => {
  const process = new Mailbox(folder);
  expect(process.read(came), 'no daemon has come').toBeUndefined();
  daemon = await openMailbox(folder);
  expect(process.read(came), 'it says nothing yet').toBeUndefined();
  await daemon.send(FRAME.STARTED);
  await expect.poll(() => process.read(came)).toBe(HEADER_BYTES);
  expect(process.write(Buffer.from([0, 0, 0, 1, FRAME.EVENT]), 0)).toBe(HEADER_BYTES);
  expect((await daemon.next())?.kind).toBe(FRAME.EVENT);
  daemon.destroy();
  await expect.poll(() => process.read(came)).toBe(0);
  expect(process.read(came)).toBeUndefined();
  daemon = await openMailbox(folder);
  await daemon.send(FRAME.DATA, Buffer.from('a page'));
  await expect.poll(() => process.read(came)).toBe(HEADER_BYTES + 6);
});

test('more than a pipe holds waits until it is read', async () => {
  daemon = await openMailbox(folder);
  const sent = daemon.send(FRAME.DATA, Buffer.alloc(300_000, 7));
  const process = new Mailbox(folder);
  let bytes = 0;
  await expect.poll(() => (bytes += process.read(Buffer.alloc(65_536)) ?? 0)).toBe(300_000 + HEADER_BYTES);
  await sent;
});

test('what is no FIFO when it is opened is not written to', async () => {
  const secret = join(folder.path, 'secret');
  writeFileSync(secret, 'as it was');
  const making = openMailbox(folder);
  // As a process that has been taken over would.
  execFileSync('sh', ['-c', 'while [ ! -p "$1" ]; do :; done; rm "$1"; ln -s "$2" "$1"', '-', folder.pagesIn, secret]);
  await expect(making).rejects.toMatchObject({ code: 'unavailable' });
  expect(execFileSync('cat', [secret]).toString()).toBe('as it was');
});
