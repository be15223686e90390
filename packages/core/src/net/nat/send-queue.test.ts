import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MINIMUM_PIECE_BYTES, SendQueue } from './send-queue.ts';

/** `count` bytes that follow from `seed`. */
function bytesOf(count: number, seed: number): Uint8Array {
  // As a socket of Node gives them.
  return Buffer.from(Uint8Array.from({ length: count }, (_, index) => (seed * 31 + index * 7 + (index >>> 8)) & 0xff));
}

const step = fc.oneof(
  fc.record({ kind: fc.constant('push' as const), count: fc.oneof(fc.nat(100), fc.nat(5000), fc.nat(150_000)) }),
  fc.record({
    kind: fc.constant('drop' as const),
    part: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
  }),
);

test('a queue gives what was pushed and not yet dropped, whatever becomes of the blocks of others', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1), step), { maxLength: 40 }), (steps) => {
      const queues = [new SendQueue(), new SendQueue()];
      const models = queues.map(() => Buffer.alloc(0));
      for (const [index, [which, each]] of steps.entries()) {
        const [queue, model] = [queues[which], models[which]];
        if (queue === undefined || model === undefined) throw new Error('two queues');
        if (each.kind === 'push') {
          const bytes = bytesOf(each.count, index);
          queue.push(bytes);
          models[which] = Buffer.concat([model, bytes]);
          // Who gave them has them again.
          bytes.fill(0xee);
        } else {
          const count = Math.floor(each.part * model.length);
          queue.drop(count);
          models[which] = model.subarray(count);
        }
        for (const [at, kept] of queues.entries()) {
          const wanted = models[at] ?? Buffer.alloc(0);
          expect(kept.length).toBe(wanted.length);
          const offset = Math.floor(wanted.length / 3);
          const into = new Uint8Array(wanted.length - offset + 2);
          kept.copyTo(into, 1, offset, wanted.length - offset);
          expect(Buffer.compare(into.subarray(1, into.length - 1), wanted.subarray(offset))).toBe(0);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('a queue that was cleared is empty, and usable', () => {
  const queue = new SendQueue();
  queue.push(bytesOf(200_000, 1));
  queue.drop(70_000);
  queue.clear();
  expect(queue.length).toBe(0);
  queue.push(Uint8Array.of(1, 2, 3));
  const into = new Uint8Array(3);
  queue.copyTo(into, 0, 0, 3);
  expect([...into]).toEqual([1, 2, 3]);
});

test('a queue of single octets takes hardly more memory than of many at once', () => {
  const queue = new SendQueue();
  for (let count = 0; count < 10 * MINIMUM_PIECE_BYTES; count++) queue.push(Uint8Array.of(count));
  expect(queue.heldBytes).toBe(10 * MINIMUM_PIECE_BYTES);
});
