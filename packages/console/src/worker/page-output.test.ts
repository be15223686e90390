import { expect, test } from 'vitest';
import type { FromMachine } from '../protocol.ts';
import { OUTPUT_BACKLOG_BYTES, PageOutput } from './page-output.ts';

function output() {
  const posted: string[] = [];
  const post = (message: FromMachine): void => {
    if (message.kind === 'output') posted.push(`${message.stream}: ${Buffer.from(message.bytes).toString()}`);
  };
  return { made: new PageOutput('terminal', post), posted };
}

test('what comes in one turn is posted once, when the turn is over', async () => {
  const { made, posted } = output();
  for (const letter of 'hello') made.write(Buffer.from(letter));
  expect(posted).toEqual([]);
  await Promise.resolve();
  expect(posted).toEqual(['terminal: hello']);
  made.write(Buffer.from('again'));
  made.flush();
  await Promise.resolve();
  expect(posted).toEqual(['terminal: hello', 'terminal: again']);
});

test('chunks of any length stay whole', () => {
  const { made, posted } = output();
  const chunks = [10, 5000, 1, 100_000].map((length, at) => String(at).repeat(length));
  for (const chunk of chunks) made.write(Buffer.from(chunk));
  made.flush();
  expect(posted).toEqual([`terminal: ${chunks.join('')}`]);
});

test('it is full until the page has shown enough', () => {
  const { made } = output();
  let room = 0;
  made.whenRoom(() => room++);
  expect(room).toBe(1);
  made.write(new Uint8Array(OUTPUT_BACKLOG_BYTES));
  expect(made.isFull).toBe(false);
  made.write(new Uint8Array(100));
  made.flush();
  made.whenRoom(() => room++);
  made.shown(99);
  expect([made.isFull, room]).toEqual([true, 1]);
  made.shown(1);
  expect([made.isFull, room]).toEqual([false, 2]);
});
