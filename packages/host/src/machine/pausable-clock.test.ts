import type { Clock } from '@ringfence/core';
import { expect, test } from 'vitest';
import { PausableClock } from './pausable-clock.ts';

test('no time passes while it stands, and it goes on where it stood', () => {
  let nowNs = 1000;
  const world: Clock = { monotonicNs: () => nowNs, wallNs: () => BigInt(nowNs), threadNs: () => 7 };
  const clock = new PausableClock(world);
  nowNs = 1500;
  clock.stop();
  nowNs = 9000;
  clock.stop();
  expect([clock.monotonicNs(), clock.wallNs(), clock.threadNs()]).toEqual([1500, 9000n, 7]);
  clock.go();
  clock.go();
  nowNs = 9100;
  expect(clock.monotonicNs()).toBe(1600);
  expect(Number(clock.stoodNs[0])).toBe(9100 - clock.monotonicNs());
});
