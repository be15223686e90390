import { describe, expect, test } from 'vitest';
import { judge, LEAST_SAMPLES, sentence, TOLERANCE_BYTES, WARM_UP_SHARE, type Sample } from './flatness.ts';

const MIB = 1024 ** 2;
const MINUTES = 120;

/** A look each minute; memory in MiB by the minute. */
function curve(residentMib: (minute: number) => number, guestMib: (minute: number) => number = () => 100): Sample[] {
  return Array.from({ length: MINUTES }, (_, index) => ({
    minutes: index + 1,
    rounds: index,
    residentBytes: residentMib(index + 1) * MIB,
    guestBytes: guestMib(index + 1) * MIB,
    instructions: 0,
    heapUsedBytes: 0,
    externalBytes: 0,
  }));
}

const flat = (samples: readonly Sample[]) =>
  Object.fromEntries(judge(samples, MINUTES).map(({ what, isFlat }) => [what, isFlat]));

describe('memory is flat', () => {
  test.each<[what: string, mib: (minute: number) => number]>([
    ['when nothing moves', () => 300],
    ['when it grows in the warm-up alone', (minute) => 300 + Math.min(minute, MINUTES * WARM_UP_SHARE) * 10],
    ["when it is a collector's saw", (minute) => 300 + (minute % 7) * 20],
    ['when it peaks once', (minute) => (minute === 119 ? 900 : 300)],
    ['when it shrinks', (minute) => 500 - minute],
    ['when it grows by less than the tolerance', (minute) => 300 + minute * 0.1],
  ])('%s', (_, mib) => {
    expect(flat(curve(mib))).toEqual({
      'resident memory': true,
      'guest memory': true,
      "memory beside the guest's": true,
    });
  });
});

describe('memory is not flat', () => {
  test('when it grows by a megabyte in two minutes', () => {
    expect(flat(curve((minute) => 300 + minute / 2))).toMatchObject({ 'resident memory': false });
  });

  test('when it grows under a saw', () => {
    expect(flat(curve((minute) => 300 + (minute % 7) * 20 + minute))).toMatchObject({ 'resident memory': false });
  });

  test('when it jumps and stays', () => {
    expect(flat(curve((minute) => (minute < 90 ? 300 : 340)))).toMatchObject({ 'resident memory': false });
  });

  test("when the guest's grows while the process gives as much back", () => {
    expect(
      flat(
        curve(
          () => 400,
          (minute) => 100 + minute,
        ),
      ),
    ).toEqual({
      'resident memory': true,
      'guest memory': false,
      "memory beside the guest's": true,
    });
  });

  test('when Ringfence grows while the guest gives as much back', () => {
    expect(
      flat(
        curve(
          () => 400,
          (minute) => 300 - minute,
        ),
      ),
    ).toMatchObject({ "memory beside the guest's": false });
  });
});

test('the tolerance is a part of what there is, and never less than a number of bytes', () => {
  const tolerance = (mib: number) =>
    judge(
      curve(() => mib),
      MINUTES,
    )[0]?.toleranceBytes;
  expect(tolerance(1000)).toBe(50 * MIB);
  expect(tolerance(200)).toBe(TOLERANCE_BYTES);
});

test('too few looks are no verdict', () => {
  const samples = curve(() => 300).slice(0, MINUTES * WARM_UP_SHARE + LEAST_SAMPLES - 1);
  expect(() => judge(samples, MINUTES)).toThrow('There were 5 looks at memory after the warm-up, and 6 are needed.');
});

test('the verdict is a sentence', () => {
  const [resident] = judge(
    curve((minute) => (minute < 90 ? 300 : 340)),
    MINUTES,
  );
  expect(resident && sentence(resident)).toBe('resident memory went from 300.0 to 340.0 MiB, NOT FLAT within 16.0 MiB');
});
