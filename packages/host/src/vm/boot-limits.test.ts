import { describe, expect, test } from 'vitest';
import { type BootLimits, checkBoots, limitsSaid } from './boot-limits.ts';
import { IMAGES } from './images.ts';

const MiB = 2 ** 20;
const image = { least: { cpuMs: 2000, memoryLimitBytes: 16 * MiB } };
const checked = (limits: BootLimits) => (): void => checkBoots('tiny', image, limits, 180_000);

describe('limits of a guest that is to boot', () => {
  test('under what it needs of a processor are refused with the figures', () => {
    expect(checked({ cpu: { limit: 1 } })).toThrow(
      "cpu.limit of 1 % is under what a guest of the image tiny needs to boot within 180 s, which is 2 s of a processor's time, 2 % at least",
    );
    expect(checked({ cpu: { limit: 2 } })).not.toThrow();
    expect(checked({ cpu: { bucket: { fill: 1, interval: 200, burst: 100 } } })).toThrow(
      "cpu.bucket gives 1.0 s of a processor's time within 180 s, under what a guest of the image tiny needs to boot, which is 2 s at least",
    );
    // What is kept at the beginning counts.
    expect(checked({ cpu: { bucket: { fill: 1, interval: 200, burst: 1100 } } })).not.toThrow();
  });

  test('under what it needs of memory are refused with the figures, by its image', () => {
    const limits = { memoryLimitBytes: 20 * MiB };
    expect(checked(limits)).not.toThrow();
    expect(() => checkBoots('debian', IMAGES.debian, limits, 180_000)).toThrow(
      /^overcommit.limit of 20 MiB is under what a guest of the image debian needs to boot, which is \d+ MiB at least$/,
    );
    expect(checked({})).not.toThrow();
  });

  test('are named where it did not come up', () => {
    expect(limitsSaid({}, undefined)).toBe('');
    expect(limitsSaid({ limit: 3 }, '20M')).toBe(', with 3 % of a processor and 20 MiB of memory at most');
    expect(limitsSaid({ bucket: { fill: 20, interval: 100, burst: 50 } }, undefined)).toBe(
      ", with 20 ms of a processor's time each 100 ms at most",
    );
  });
});
