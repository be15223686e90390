/** Names over TCP to a guest that does not take the answers; what is in them is tested through the gateway. */

import { expect, test } from 'vitest';
import { DnsServer, DnsStream, MAXIMUM_PIPELINED_QUERIES } from './dns.ts';

const QUERY = Uint8Array.from([0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 120, 0, 0, 1, 0, 1]);
const FRAMED = Uint8Array.from([0, QUERY.length, ...QUERY]);

function rig() {
  const asked: ((message: Uint8Array) => void)[] = [];
  const words: string[] = [];
  const queryDns = (): Promise<Uint8Array> => new Promise((resolve) => void asked.push(resolve));
  const server = new DnsServer({ queryDns }, () => undefined);
  const stream = new DnsStream(server, {
    connected: () => undefined,
    data: (bytes) => void words.push(`data ${bytes.length}`),
    nextRead: () => 65_536,
    ended: () => void words.push('ended'),
    written: () => undefined,
    closed: (failure) => void words.push(`closed ${failure ?? 'in order'}`),
  });
  /** The host's name server answers everything that it was asked. */
  const answer = async (): Promise<number> => {
    const all = asked.splice(0);
    for (const resolve of all) resolve(QUERY);
    await new Promise((resolve) => setTimeout(resolve));
    return all.length;
  };
  return { stream, words, answer };
}

test('only so many queries of one stream are under way, and what waits counts', async () => {
  const { stream, words, answer } = rig();
  for (let count = 0; count < MAXIMUM_PIPELINED_QUERIES + 3; count++) stream.write(FRAMED);
  expect(stream.queuedBytes).toBe(3 * FRAMED.length);
  expect(await answer()).toBe(MAXIMUM_PIPELINED_QUERIES);
  expect([stream.queuedBytes, await answer(), words.length]).toEqual([0, 3, MAXIMUM_PIPELINED_QUERIES + 3]);
});

test('a stream that is paused asks nobody, and goes on when it is resumed', async () => {
  const { stream, words, answer } = rig();
  stream.write(FRAMED);
  stream.pause();
  stream.write(FRAMED);
  stream.end();
  expect([await answer(), await answer(), stream.queuedBytes]).toEqual([1, 0, FRAMED.length]);
  stream.resume();
  expect([await answer(), stream.queuedBytes]).toEqual([1, 0]);
  const answered = `data ${FRAMED.length}`;
  expect(words).toEqual([answered, answered, 'ended', 'closed in order']);
});

test('what is no query is passed over, and what is never whole ends with the stream', () => {
  const { stream, words } = rig();
  stream.write(Uint8Array.from([0, 0, 0, 3, 1, 2, 3, 0, 14, 0, 1, 0x80, 0]));
  stream.end();
  expect(words).toEqual(['ended', 'closed in order']);
});
