/** Durations as people write them: 250ms, 30s, 5m. */

const DURATIONS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Node's timers count milliseconds in 31 bits: 24 days. */
export const LONGEST_DURATION_MS = 2 ** 31 - 1;

/** The milliseconds that `text` stands for ("30s", "1.5m", "250ms", plain seconds), or undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  const [, digits, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/i.exec(text.trim()) ?? [];
  if (digits === undefined) return undefined;
  return Math.round(Number(digits) * (DURATIONS_MS[unit.toLowerCase()] ?? 0));
}

/** The time a machine may take; or why not, as the end of a sentence. */
export function timeLimit(text: string): number | string {
  const durationMs = parseDuration(text);
  if (durationMs === undefined) return 'is no duration; write it like 30s, 5m or 1h';
  if (durationMs <= 0) return 'is no time at all; write something like 30s';
  if (durationMs > LONGEST_DURATION_MS)
    return `is too long; the longest is ${Math.floor(LONGEST_DURATION_MS / 86_400_000)}d`;
  return durationMs;
}
