import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { drainAll, Output, OUTPUT_BACKLOG_BYTES } from './output.ts';

/** A reader that takes a chunk whenever the test says so. */
class SlowReader extends Writable {
  readonly chunks: Uint8Array[] = [];
  take: (error?: Error) => void = () => undefined;

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    this.chunks.push(chunk);
    this.take = done;
  }
}

function brokenPipe(code: string): Error {
  return Object.assign(new Error(code), { code });
}

const never = new AbortController().signal;

test('it is full from its limit on and says when it is no longer', async () => {
  const reader = new SlowReader();
  const output = new Output(reader);
  let room = 0;
  output.write(new Uint8Array(OUTPUT_BACKLOG_BYTES));
  expect(output.isFull).toBe(false);
  output.write(new Uint8Array(1));
  expect(output.isFull).toBe(true);
  output.whenRoom(() => room++);
  reader.take();
  await turn();
  expect([output.isFull, room]).toEqual([false, 1]);
});

test('it is drained when the reader has everything', async () => {
  const reader = new SlowReader();
  const output = new Output(reader);
  let isDrained = false;
  output.write(Buffer.from('text'));
  const drained = output.drained().then(() => (isDrained = true));
  await turn();
  expect(isDrained).toBe(false);
  reader.take();
  await drained;
});

test.each([
  ['EPIPE', undefined],
  ['EIO', undefined],
  ['ENOSPC', 'no space is left on the device'],
])('a reader that ends with %s breaks it once, and nobody waits any more', async (code, reason) => {
  const reader = new SlowReader();
  const output = new Output(reader);
  const reasons: unknown[] = [];
  output.onBroken = (why) => reasons.push(why);
  output.write(new Uint8Array(OUTPUT_BACKLOG_BYTES + 1));
  const drained = output.drained();
  reader.take(brokenPipe(code));
  await drained;
  output.write(Buffer.from('more'));
  expect([output.isFull, reasons]).toEqual([false, [reason]]);
});

test('a reader that takes nothing does not hold up a forced end', async () => {
  const output = new Output(new SlowReader());
  output.write(Buffer.from('text'));
  // The clock that ends the waiting does not keep a process alive by itself.
  const alive = setInterval(() => undefined, 100);
  await drainAll([output], true, never);
  clearInterval(alive);
});
