import { expect, test } from 'vitest';
import { Convergence } from './convergence.ts';
import { GuestThrottle } from './guest-throttle.ts';

/** Of 100 MB/s, and rounds of 100 ms. */
const LINK = { diskBytes: 0, bytesPerMs: 100_000, tookMs: 100 };

function convergence(
  options: { readonly mayFollow?: boolean; readonly pages?: number; readonly downtimeMs?: number } = {},
): {
  readonly throttle: GuestThrottle;
  readonly after: (pages: number) => string;
  readonly during: (pages: number, tookMs: number) => boolean;
} {
  const throttle = new GuestThrottle(
    { sleep: () => Promise.resolve() },
    {
      stand: () => Promise.resolve(),
      resume: () => undefined,
      run: () => Promise.resolve(0),
      pagesPerMs: () => 0,
      isSilent: () => false,
    },
  );
  const { pages = 10_000, mayFollow = false, downtimeMs } = options;
  const of = new Convergence(throttle, pages, { mayFollow, downtimeMs });
  return {
    throttle,
    after: (left) => of.after({ ...LINK, pages: left }),
    during: (written, tookMs) => of.during(written, tookMs, LINK.bytesPerMs),
  };
}

test('what fits into the downtime is sent while the machine stands still', () => {
  // 245 pages of 4 KiB take 10.04 ms, and half of the 20 are for the hand-over.
  expect(convergence().after(245)).toBe('round');
  expect(convergence().after(244)).toBe('stand');
});

test('where the machine may stand still for long the hand-over is 12 ms of it', () => {
  expect(convergence({ downtimeMs: 100 }).after(2150)).toBe('round');
  expect(convergence({ downtimeMs: 100 }).after(2140)).toBe('stand');
});

test('a guest whose rounds get smaller by themselves is left alone', () => {
  const { after, throttle } = convergence();
  throttle.slower = () => expect.fail('it is slowed down');
  expect([after(700), after(450), after(240)]).toEqual(['round', 'round', 'stand']);
});

test('as long as rounds get smaller there are more of them, rather than that the machine stands still for long', () => {
  const { after, throttle } = convergence();
  throttle.slower(true);
  expect([after(8000), after(6400), after(5100), after(4100), after(3300), after(2000)]).toEqual(
    Array.from({ length: 6 }, () => 'round'),
  );
  // 59 ms, which is not much longer than it may.
  expect(after(1200)).toBe('round');
  expect(after(1190)).toBe('stand');
});

test('after some rounds that do not get smaller it stands still for as long as it takes, or stays', () => {
  for (const [pages, last] of [
    [20_000, 'stand'],
    [100_000, 'never'],
  ] as const) {
    const { after, throttle } = convergence({ pages });
    throttle.slower(true);
    expect([after(pages), after(pages), after(pages)]).toEqual(['round', 'round', last]);
  }
});

test('where pages may follow they do so when rounds are hardly smaller', () => {
  const { after, throttle } = convergence({ mayFollow: true });
  expect(after(8000)).toBe('round');
  throttle.slower(true);
  expect(after(7900)).toBe('follow');
});

test('a guest that writes as fast as the link carries is slowed down before its round is over', () => {
  const { during, throttle } = convergence();
  expect([during(100, 20), throttle.isSlowest]).toEqual([false, false]);
  expect([during(600, 20), throttle.isSlowest]).toEqual([true, true]);
});
