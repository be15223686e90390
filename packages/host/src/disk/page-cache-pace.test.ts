import { expect, test } from 'vitest';
import { PageCachePace } from './page-cache-pace.ts';

/** A pace whose accesses take as long as the test says. */
function paced(): { readonly access: (ms: number) => 'at once' | 'handed over' } {
  let nowMs = 0;
  const pace = new PageCachePace(() => nowMs);
  return {
    access(ms) {
      if (!pace.isQuick(4096)) return 'handed over';
      pace.make(() => {
        nowMs += ms;
      });
      return 'at once';
    },
  };
}

const handedOver = (access: (ms: number) => string, ms: number): number => {
  let count = 0;
  while (access(ms) === 'handed over') count++;
  return count;
};

test('quick accesses are made at once', () => {
  const { access } = paced();
  for (let count = 0; count < 100; count++) expect(access(0.01)).toBe('at once');
});

test('after one that waited the next are handed over; each that waits again doubles their number, up to a limit', () => {
  const { access } = paced();
  access(8);
  const counts = Array.from({ length: 12 }, () => handedOver(access, 8));
  expect(counts.slice(0, 4)).toEqual([16, 32, 64, 128]);
  expect(counts.at(-1)).toBe(4096);
});

test('a quick one in between makes the next rest short again', () => {
  const { access } = paced();
  access(8);
  expect(handedOver(access, 8)).toBe(16);
  expect(handedOver(access, 0.1)).toBe(32);
  access(8);
  expect(handedOver(access, 0.1)).toBe(16);
});

test('a long access is handed over in any case', () => {
  expect(new PageCachePace().isQuick(2 ** 20)).toBe(false);
});
