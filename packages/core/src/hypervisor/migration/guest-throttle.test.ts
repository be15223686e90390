import { expect, test } from 'vitest';
import { GuestThrottle } from './guest-throttle.ts';

/** A guest with a clock that goes on when somebody sleeps; how long it ran and stood still. */
class Guest {
  /** How long it takes until it stands still. */
  slowMs = 1;
  nowMs = 0;
  ranMs = 0;
  stoodMs = 0;
  longestMs = 0;
  isStanding = false;
  #sinceMs = 0;
  readonly throttle = new GuestThrottle(
    {
      monotonicNs: () => this.nowMs * 1e6,
      sleep: async (ms) => void (this.nowMs += ms),
    },
    {
      stand: async () => {
        this.nowMs += this.slowMs;
        this.ranMs += this.#since();
        this.isStanding = true;
      },
      resume: () => {
        const ms = this.#since();
        this.stoodMs += ms;
        this.longestMs = Math.max(this.longestMs, ms);
        this.isStanding = false;
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
    return this.ranMs / (this.ranMs + this.stoodMs);
  }
}

test.each([
  [1, 0, 0.5],
  [2, 0, 0.25],
  [3, 0, 0.11],
  [4, 0, 0.07],
  // The longest that it stands still is all that it stands still.
  [3, 1, 0.11],
  [4, 1, 0.11],
])(
  'a guest that is slowed down by %s steps, and takes %s ms to stand still, has its part of the time, and never stands still for long',
  async (steps, slowMs, part) => {
    const guest = new Guest();
    guest.slowMs = slowMs;
    for (let step = 0; step < steps; step++) guest.throttle.slower(false);
    expect(await guest.part()).toBeCloseTo(part, 2);
    expect(guest.longestMs).toBeLessThanOrEqual(20);
  },
);

test('by all steps at once it is as slow as it gets', () => {
  const { throttle } = new Guest();
  throttle.slower(false);
  expect(throttle.isSlowest).toBe(false);
  throttle.slower(true);
  expect(throttle.isSlowest).toBe(true);
});

test('one that is not slowed down is left alone', async () => {
  const guest = new Guest();
  guest.throttle.begin();
  await guest.throttle.end();
  expect([guest.ranMs, guest.isStanding]).toEqual([0, false]);
});
