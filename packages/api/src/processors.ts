/** What a machine may have of a host's processors, and what can be. Percents are of one processor: 250 is two and a half. */

import * as z from 'zod/mini';

/** Bounds of what a request or a vm.yaml may say. */
export const PROCESSOR_LIMITS = { shares: 100_000, percent: 6400, milliseconds: 3_600_000 } as const;
/** Of a machine of which nothing is said. */
export const DEFAULT_PROCESSOR_SHARES = 1000;

const percent = z.number().check(z.gte(1), z.lte(PROCESSOR_LIMITS.percent));
const milliseconds = z.number().check(z.positive(), z.lte(PROCESSOR_LIMITS.milliseconds));

/** `fill` milliseconds of processor time come each `interval`, and up to `burst` are kept. */
const bucket = z.strictObject({ fill: milliseconds, interval: milliseconds, burst: milliseconds });

export const processorSettings = z.strictObject({
  /** Its weight beside others, where there is not enough for all. */
  shares: z.optional(z.number().check(z.int(), z.gte(1), z.lte(PROCESSOR_LIMITS.shares))),
  /** What it has whenever it wants it. */
  reservation: z.optional(z.number().check(z.gte(0), z.lte(PROCESSOR_LIMITS.percent))),
  /** What it never has more than. */
  limit: z.optional(percent),
  bucket: z.optional(bucket),
});

/** Of what is there: what is not given stays, null goes. */
export const processorChange = z.strictObject({
  shares: z.optional(z.nullable(z.number().check(z.int(), z.gte(1), z.lte(PROCESSOR_LIMITS.shares)))),
  reservation: z.optional(z.nullable(z.number().check(z.gte(0), z.lte(PROCESSOR_LIMITS.percent)))),
  limit: z.optional(z.nullable(percent)),
  bucket: z.optional(z.nullable(bucket)),
});

export type ProcessorSettings = z.output<typeof processorSettings>;
export type ProcessorChange = z.output<typeof processorChange>;

/** What of `settings` cannot be for a machine with so many processors: the field, and the end of a sentence that begins with it. */
export function impossibleProcessors(
  { reservation = 0, limit, bucket: own }: ProcessorSettings,
  cpus: number,
): { readonly field: 'reservation' | 'limit' | 'bucket'; readonly problem: string } | undefined {
  const most = 100 * cpus;
  if (reservation > most)
    return {
      field: 'reservation',
      problem: `of ${reservation} % is more than the machine's ${cpus === 1 ? 'processor' : `${cpus} processors`} can use (${most} %)`,
    };
  if (limit !== undefined && limit < reservation)
    return { field: 'limit', problem: `of ${limit} % is less than the reservation of ${reservation} %` };
  if (own === undefined) return undefined;
  if (own.burst < own.fill)
    return { field: 'bucket', problem: `keeps ${own.burst} ms, less than the ${own.fill} ms that come at a time` };
  if (reservation > (100 * own.fill) / own.interval)
    return {
      field: 'bucket',
      problem: `of ${own.fill} ms each ${own.interval} ms is less than the reservation of ${reservation} %`,
    };
  return undefined;
}

export function changedProcessors(before: ProcessorSettings, change: ProcessorChange): ProcessorSettings {
  const after = Object.entries({ ...before, ...change }).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(after);
}
