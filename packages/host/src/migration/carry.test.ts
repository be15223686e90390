/** Messages that are carried on, over sockets and over streams of this process: whole, in their order, whatever pieces they come in. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { expect, test } from 'vitest';
import { FRAME, FrameLink } from '../control/frames.ts';
import { carry } from './carry.ts';
import { MessageLink } from './message-link.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringfence-carry-'));
let sockets = 0;

async function socketPair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true });
  const path = join(folder, `${sockets++}`);
  server.listen(path);
  await once(server, 'listening');
  const one = connect({ path, allowHalfOpen: true });
  const [other] = (await once(server, 'connection')) as [Socket];
  server.close();
  return [one, other];
}

/** Longer than a buffer, as long as one, and shorter. */
const LENGTHS = [0, 1, 70_000, 131_216, 512 * 1024 - 5, 512 * 1024, 3_000_000, 17, 131_216, 131_216];
const messages = LENGTHS.map((length, n) => new Uint8Array(length).map((_byte, at) => (at * 7 + n) & 0xff));

test.each<[string, () => Promise<[Duplex, Duplex]>]>([
  ['sockets', socketPair],
  ['streams', () => Promise.resolve(duplexPair())],
])('over %s', async (_what, pair) => {
  const [[source, from], [to, target]] = [await pair(), await pair()];
  const [here, there] = [new FrameLink(source), new FrameLink(to)];
  const [heard, came]: [number[], Uint8Array[]] = [[], []];
  const over = Promise.withResolvers<void>();
  // A message is there only while it is heard.
  new MessageLink(new FrameLink(target)).listen((message) => void came.push(message.slice()), over.resolve);
  const carrying = carry(new FrameLink(from), there, ({ kind, payload }) => void heard.push(kind, payload.length));
  let unsent = messages.length;
  for (const [n, message] of messages.entries()) {
    await here.send(FRAME.DATA, message, () => unsent--);
    if (n % 4 === 3) await here.send(FRAME.STEP, Buffer.alloc(n));
  }
  // The beginning of one whose rest never comes.
  source.end(Buffer.of(0, 0, 1, 0, FRAME.DATA, 1, 2, 3));
  await carrying;
  await there.send(FRAME.INPUT_END);
  await over.promise;
  expect(came.map((message) => Buffer.compare(message, messages[came.indexOf(message)] ?? Buffer.of()))).toEqual(
    LENGTHS.map(() => 0),
  );
  expect([heard, unsent]).toEqual([[FRAME.STEP, 3, FRAME.STEP, 7], 0]);
  for (const each of [source, to]) each.destroy();
});

test('what is no frame ends it', async () => {
  const [source, from] = await socketPair();
  const [to] = await socketPair();
  const carrying = carry(new FrameLink(from), new FrameLink(to), () => undefined);
  source.write(Buffer.of(0xff, 0xff, 0xff, 0xff, FRAME.DATA));
  await carrying;
  expect(from.destroyed).toBe(true);
  for (const each of [source, to]) each.destroy();
  rmSync(folder, { recursive: true });
});
