import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FakePort } from '../testing/fake-port.ts';
import { TYPE_AHEAD_BYTES, TypeAhead } from './type-ahead.ts';

test('keys wait in their order until the guest takes them', async () => {
  const port = new FakePort();
  port.room = 3;
  const keys = new TypeAhead(port);
  keys.push(Buffer.from('ab'));
  keys.push(Buffer.from('cd'));
  keys.push(Buffer.from('ef'));
  await turn();
  expect(port.received).toBe('abc');
  port.drain(100);
  await turn();
  keys.push(Buffer.from('g'));
  await turn();
  expect(port.received).toBe('abcdefg');
});

test('what a guest that takes nothing is sent beyond a limit is lost', async () => {
  const port = new FakePort();
  port.room = 0;
  const keys = new TypeAhead(port);
  keys.push(new Uint8Array(TYPE_AHEAD_BYTES));
  keys.push(Buffer.from('lost'));
  port.drain(Infinity);
  await turn();
  expect(port.received.length).toBe(TYPE_AHEAD_BYTES);
});
