import { expect, test } from 'vitest';
import { ByteRing } from './byte-ring.ts';

test('bytes come out in the order they went in, across the end of the ring', () => {
  const ring = new ByteRing(4);
  expect(ring.push(Uint8Array.of(1, 2, 3))).toBe(3);
  expect([ring.shift(), ring.shift()]).toEqual([1, 2]);
  expect(ring.push(Uint8Array.of(4, 5, 6))).toBe(3);
  expect([...ring.toBytes()]).toEqual([3, 4, 5, 6]);
  expect([ring.shift(), ring.shift(), ring.shift(), ring.shift(), ring.shift()]).toEqual([3, 4, 5, 6, undefined]);
});

test('a full ring takes what fits and says how much', () => {
  const ring = new ByteRing(4);
  expect(ring.push(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(4);
  expect(ring.push(Uint8Array.of(7))).toBe(0);
  ring.clear();
  expect([ring.length, ring.shift()]).toEqual([0, undefined]);
});

test('many bytes are taken at once, across the end of the ring', () => {
  const ring = new ByteRing(4);
  const into = new Uint8Array(3);
  ring.push(Uint8Array.of(1, 2, 3));
  expect([ring.take(into), ...into]).toEqual([3, 1, 2, 3]);
  ring.push(Uint8Array.of(4, 5, 6, 7));
  expect([ring.take(into), ...into]).toEqual([3, 4, 5, 6]);
  expect([ring.take(into), into[0], ring.length]).toEqual([1, 7, 0]);
});
