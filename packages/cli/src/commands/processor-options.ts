/** Options that say what a machine may have of the processors. */

import type { ProcessorChange, ProcessorSettings } from '@ringfence/api';
import { EXIT } from '../exit-codes.ts';
import { CliError } from '../failure.ts';

export interface ProcessorOptions {
  readonly cpuShares?: string | undefined;
  readonly cpuReservation?: string | undefined;
  readonly cpuLimit?: string | undefined;
  readonly cpuBucket?: string | undefined;
}

/** As a new machine has them: nothing when no option was given. */
export function processorOptions(options: ProcessorOptions): { readonly cpu?: ProcessorSettings } {
  const { cpuShares, cpuReservation, cpuLimit, cpuBucket } = options;
  const cpu: ProcessorSettings = {
    ...(cpuShares === undefined ? {} : { shares: wholeOf('--cpu-shares', cpuShares) }),
    ...(cpuReservation === undefined ? {} : { reservation: percentOf('--cpu-reservation', cpuReservation) }),
    ...(cpuLimit === undefined ? {} : { limit: percentOf('--cpu-limit', cpuLimit) }),
    ...(cpuBucket === undefined ? {} : { bucket: bucketOf('--cpu-bucket', cpuBucket) }),
  };
  return Object.keys(cpu).length === 0 ? {} : { cpu };
}

/** What `ringfence cpu` changes; "none" takes away. */
export function processorChange(options: Readonly<Record<string, unknown>>): ProcessorChange {
  const change: ProcessorChange = {
    ...changed('shares', options, wholeOf),
    ...changed('reservation', options, percentOf),
    ...changed('limit', options, percentOf),
    ...changed('bucket', options, bucketOf),
  };
  if (Object.keys(change).length > 0) return change;
  throw new CliError('say what is to change: --shares, --reservation, --limit or --bucket', EXIT.FAILED);
}

export function processorText({ shares, reservation, limit, bucket }: ProcessorSettings): string {
  return [
    ...(shares === undefined ? [] : [`${shares} shares`]),
    ...(reservation === undefined ? [] : [`${reservation} % reserved`]),
    ...(limit === undefined ? [] : [`at most ${limit} %`]),
    ...(bucket === undefined ? [] : [`${bucket.fill} ms each ${bucket.interval} ms, ${bucket.burst} ms kept`]),
  ].join(', ');
}

/** 50 or 50%, of one processor. */
export function percentOf(option: string, text: string): number {
  return numberOf(option, /^(\d{1,4}(?:\.\d{1,3})?)\s?%?$/.exec(text)?.[1], text, 'no percent of a processor');
}

function wholeOf(option: string, text: string): number {
  return numberOf(option, /^(\d{1,6})$/.exec(text)?.[1], text, 'no number of shares');
}

function bucketOf(option: string, text: string): NonNullable<ProcessorSettings['bucket']> {
  const parts = text.split('/').map((part) => Number(/^(\d{1,7})(?:ms)?$/.exec(part)?.[1] ?? NaN));
  const [fill = NaN, interval = NaN, burst = NaN] = parts;
  if (parts.length === 3 && parts.every((part) => part > 0)) return { fill, interval, burst };
  throw new CliError(
    `${option} "${text}" is not understood; write it as FILL/INTERVAL/BURST in milliseconds, like 20/100/5000`,
    EXIT.FAILED,
  );
}

function numberOf(option: string, digits: string | undefined, text: string, what: string): number {
  if (digits !== undefined) return Number(digits);
  throw new CliError(`${option} "${text}" is ${what}`, EXIT.FAILED);
}

function changed<Name extends keyof ProcessorChange>(
  name: Name,
  options: Readonly<Record<string, unknown>>,
  read: (option: string, text: string) => ProcessorChange[Name],
): ProcessorChange {
  const text = options[name];
  if (typeof text !== 'string') return {};
  return { [name]: text === 'none' ? null : read(`--${name}`, text) };
}
