/**
 * Whether memory stayed flat. What comes after the warm-up is cut in three; the middle figure of the last third may not lie above that of
 * the first by more than a tolerance. Middle figures, because a garbage collector makes a saw of every curve; thirds, because a leak that
 * matters over hours is there at the end of them.
 */

import { median } from '../bench/statistics.ts';

/** One look at the process and its guest. */
export interface Sample {
  readonly minutes: number;
  /** Rounds of work that the guest had done. */
  readonly rounds: number;
  /** VmRSS of the process. */
  readonly residentBytes: number;
  /** Frames that the guest ever touched. */
  readonly guestBytes: number;
  readonly instructions: number;
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
}

/** Part of the time in which caches fill and the guest touches its memory for the first time. */
export const WARM_UP_SHARE = 0.25;
/** Growth that is no growth: what the larger of the two allows. */
export const TOLERANCE_SHARE = 0.05;
export const TOLERANCE_BYTES = 16 * 1024 ** 2;
/** Looks after the warm-up below which nothing can be said: two in each third. */
export const LEAST_SAMPLES = 6;

export interface Verdict {
  readonly what: string;
  readonly beforeBytes: number;
  readonly afterBytes: number;
  readonly toleranceBytes: number;
  readonly isFlat: boolean;
}

/** The curves that are judged. What Ringfence holds beside the guest's frames can grow while the guest's stay, and the other way round. */
const CURVES: readonly { readonly what: string; readonly of: (sample: Sample) => number }[] = [
  { what: 'resident memory', of: ({ residentBytes }) => residentBytes },
  { what: 'guest memory', of: ({ guestBytes }) => guestBytes },
  { what: "memory beside the guest's", of: ({ residentBytes, guestBytes }) => residentBytes - guestBytes },
];

/** An Error when there are too few samples after the warm-up to say anything. */
export function judge(samples: readonly Sample[], minutes: number): Verdict[] {
  const judged = samples.filter((sample) => sample.minutes > minutes * WARM_UP_SHARE);
  if (judged.length < LEAST_SAMPLES) {
    throw new Error(`There were ${judged.length} looks at memory after the warm-up, and ${LEAST_SAMPLES} are needed.`);
  }
  return CURVES.map(({ what, of }) => flatness(what, judged.map(of)));
}

function flatness(what: string, bytes: readonly number[]): Verdict {
  const third = Math.floor(bytes.length / 3);
  const beforeBytes = median(bytes.slice(0, third));
  const afterBytes = median(bytes.slice(-third));
  const toleranceBytes = Math.max(TOLERANCE_BYTES, beforeBytes * TOLERANCE_SHARE);
  return { what, beforeBytes, afterBytes, toleranceBytes, isFlat: afterBytes - beforeBytes <= toleranceBytes };
}

/** One sentence. */
export function sentence({ what, beforeBytes, afterBytes, toleranceBytes, isFlat }: Verdict): string {
  const [before, after, tolerance] = [beforeBytes, afterBytes, toleranceBytes].map(mebibytes);
  return `${what} went from ${before} to ${after} MiB, ${isFlat ? 'flat' : 'NOT FLAT'} within ${tolerance} MiB`;
}

export function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
