import { expect, test } from 'vitest';
import { GuestThrottle } from './guest-throttle.ts';

/** A guest with a clock that goes on when somebody sleeps; how long it ran and stood still. */
class Guest {
  /** How long it takes until it stands still. */
  slowMs = 1;
  nowMs = 0;
  ranMs = 0;
  longestMs = 0;
  isStanding = false;
  /** Whether the link is. */
  isSilent: (nowMs: number) => boolean = () => false;
  /** That it writes. */
  pagesPerMs = 0;
  #sinceMs = 0;
  readonly throttle = new GuestThrottle(
    { sleep: async (ms) => void (this.nowMs += ms) },
    {
      stand: async () => {
        this.nowMs += this.slowMs;
        this.ranMs += this.#since();
        this.isStanding = true;
      },
      pagesPerMs: () => 100,
      isSilent: () => this.isSilent(this.nowMs),
      resume: () => {
        this.longestMs = Math.max(this.longestMs, this.#since());
        this.isStanding = false;
      },
      run: async (ms) => {
        this.longestMs = Math.max(this.longestMs, this.#since());
        this.nowMs += ms + this.slowMs;
        this.ranMs += this.#since();
        return ms * this.pagesPerMs;
      },
    },
  );

  #since(): number {
    const ms = this.nowMs - this.#sinceMs;
    this.#sinceMs = this.nowMs;
    return ms;
  }

  /** The part of its time that it has within some seconds. */
  async part(): Promise<number> {
    this.throttle.begin();
    for (const untilMs = this.nowMs + 10_000; this.nowMs < untilMs;) await Promise.resolve();
    await this.throttle.end();
    return this.ranMs / this.nowMs;
  }
}

test.each([
  [1, 0, 0.5],
  [2, 0, 0.2],
  [3, 0, 0.11],
  [4, 0, 0.077],
  [2, 1, 0.69],
  [4, 1, 0.43],
])(
  'a guest that is slowed down by %s steps, and takes %s ms to stand still, has its part of the time, and never stands still for long',
  async (steps, slowMs, part) => {
    const guest = new Guest();
    guest.slowMs = slowMs;
    for (let step = 0; step < steps; step++) guest.throttle.slower(false);
    expect(await guest.part()).toBeCloseTo(part, 2);
    expect(guest.longestMs).toBeLessThanOrEqual(12);
  },
);

test('one that has written much of what was sent while it stood still runs no longer', async () => {
  const guest = new Guest();
  guest.slowMs = 0;
  guest.pagesPerMs = 2000;
  guest.throttle.slower(true);
  // 0.15 x 12 ms x 100 pages are the most, which is less than it writes in an eighth of a millisecond.
  expect(await guest.part()).toBeCloseTo(0.125 / 12.125, 3);
});

test('by all steps at once it is as slow as it gets', () => {
  const { throttle } = new Guest();
  expect(throttle.isNeeded).toBe(false);
  throttle.slower(false);
  expect([throttle.isNeeded, throttle.isSlowest]).toEqual([true, false]);
  throttle.slower(true);
  expect(throttle.isSlowest).toBe(true);
});

test('one that is not slowed down is left alone', async () => {
  const guest = new Guest();
  guest.throttle.begin();
  await guest.throttle.end();
  expect([guest.ranMs, guest.isStanding]).toEqual([0, false]);
});

test('when that ends it stands still, and has run right before', async () => {
  const guest = new Guest();
  guest.slowMs = 0;
  guest.throttle.slower(true);
  guest.throttle.begin();
  const { ranMs } = guest;
  await guest.throttle.end();
  expect([guest.isStanding, guest.ranMs]).toEqual([true, ranMs + 1]);
});

test('one whose link falls silent runs as if nothing were, until it is heard again', async () => {
  const guest = new Guest();
  guest.slowMs = 0;
  guest.throttle.slower(true);
  guest.isSilent = (nowMs) => nowMs >= 2000 && nowMs < 7000;
  // Five seconds of ten, and a thirteenth of the others.
  expect(await guest.part()).toBeCloseTo(0.5 + 0.5 / 13, 2);
  expect(guest.isStanding).toBe(true);
});

test('one that runs because its link is silent stands still when nobody wants it slowed down any more', async () => {
  const guest = new Guest();
  guest.throttle.slower(true);
  guest.isSilent = () => true;
  expect(await guest.part()).toBeGreaterThan(0.9);
  expect(guest.isStanding).toBe(true);
});
