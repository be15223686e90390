import { expect, test } from 'vitest';
import { MAXIMUM_SILENCE_MS, Silence } from './silence.ts';

test('silence counts from when the machine stands still, however long it was silent while it ran', async () => {
  let nowMs = 0;
  /** Since when it stands, and when it is found to be too long. */
  let standsSinceMs: number | undefined;
  let lostMs: number | undefined;
  const silence = new Silence({
    monotonicNs: () => nowMs * 1e6,
    sleep: async (ms) => {
      nowMs += ms;
      if (nowMs === 60_000) standsSinceMs = nowMs;
    },
  });
  void silence.during(new Promise(() => undefined));
  await silence.watch(
    () => (standsSinceMs === undefined ? undefined : standsSinceMs * 1e6),
    () => {
      lostMs ??= nowMs;
      silence.end();
    },
  );
  expect(lostMs).toBeGreaterThan(60_000 + MAXIMUM_SILENCE_MS);
  expect(lostMs).toBeLessThanOrEqual(60_000 + MAXIMUM_SILENCE_MS + 1000);
});
