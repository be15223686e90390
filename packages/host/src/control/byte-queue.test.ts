import { expect, test } from 'vitest';
import { ByteQueue } from './byte-queue.ts';

async function all(queue: ByteQueue): Promise<string> {
  let text = '';
  for await (const bytes of queue) text += Buffer.from(bytes).toString();
  return text;
}

test('gives what was pushed in its order, before its end and after', async () => {
  const queue = new ByteQueue(100);
  void queue.push(Buffer.from('one '));
  const reading = all(queue);
  await queue.push(Buffer.from('two '));
  void queue.push(Buffer.from('three'));
  queue.end();
  expect(await reading).toBe('one two three');
});

test('lets who pushes wait while more is there than it holds', async () => {
  const queue = new ByteQueue(4);
  let hasRoom = false;
  const pushed = queue.push(Buffer.from('12345')).then(() => (hasRoom = true));
  await new Promise(setImmediate);
  expect([hasRoom, queue.bytes]).toEqual([false, 5]);
  for await (const bytes of queue) {
    expect(Buffer.from(bytes).toString()).toBe('12345');
    break;
  }
  expect(await pushed).toBe(true);
});

test('gives a failure after what was there', async () => {
  const queue = new ByteQueue(100);
  void queue.push(Buffer.from('before'));
  queue.end(new Error('it broke'));
  const iterator = queue[Symbol.asyncIterator]();
  expect(Buffer.from((await iterator.next()).value ?? []).toString()).toBe('before');
  await expect(iterator.next()).rejects.toThrow('it broke');
});

test('drops what nobody wants', async () => {
  const queue = new ByteQueue(1);
  const pushed = queue.push(Buffer.from('much'));
  queue.discard();
  await pushed;
  await queue.push(Buffer.from('more'));
  expect([queue.bytes, await all(queue)]).toEqual([0, '']);
});

test('keeps what comes byte by byte in little more memory than it has', async () => {
  const queue = new ByteQueue(1_000_000);
  // As the serial line brings it: a part of a larger buffer each time.
  for (let at = 0; at < 20_000; at++) void queue.push(new Uint8Array(4096).fill(at % 256, 0, 1).subarray(0, 1));
  queue.end();
  const kept = new Set<ArrayBufferLike>();
  let at = 0;
  for await (const bytes of queue) {
    kept.add(bytes.buffer);
    for (const byte of bytes) if (byte !== at++ % 256) throw new Error(`byte ${at} is wrong`);
  }
  expect(at).toBe(20_000);
  expect([...kept].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBeLessThan(2 * 20_000);
});
