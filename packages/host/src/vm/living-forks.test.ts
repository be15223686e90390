import { expect, test } from 'vitest';
import { LivingForks } from './living-forks.ts';

test('forks of a fork that has ended are its parent’s, however many of those before it have ended', async () => {
  const machine = (): { ended: Promise<void>; end: () => void; forks: LivingForks<{ ended: Promise<void> }> } => {
    const { promise, resolve } = Promise.withResolvers<void>();
    return { ended: promise, end: resolve, forks: new LivingForks() };
  };
  const [parent, child, grandchild, last] = [machine(), machine(), machine(), machine()];
  parent.forks.keep(child, child.forks);
  child.forks.keep(grandchild, grandchild.forks);
  grandchild.forks.keep(last, last.forks);
  expect(parent.forks.all).toEqual([child, grandchild, last]);
  for (const [ends, left] of [
    [grandchild, [child, last]],
    [child, [last]],
    [last, []],
  ] as const) {
    ends.end();
    await ends.ended;
    expect(parent.forks.all).toEqual(left);
  }
});
