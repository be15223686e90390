/**
 * What a guest needs of processors and memory to boot, in the time that a machine waits for it: a limit under that is said before anything is started,
 * and where a guest did not come up in its limits, these are named. Lowest figures, of a fast computer: nothing boots with less.
 */

import type { ProcessorSettings } from '@ringfence/api';
import { formatSize, parseSize } from '@ringfence/core/sizes';
import { HostError } from '../failure.ts';
import type { MachineConfig } from '../machine-folder/config.ts';
import { overcommitOf } from '../machine-folder/overcommit.ts';
import type { Image } from './images.ts';

export interface BootLimits {
  readonly cpu?: ProcessorSettings | undefined;
  readonly memoryLimitBytes?: number | undefined;
}

export function bootLimitsOf({ cpu, overcommit }: MachineConfig): BootLimits {
  return { cpu, memoryLimitBytes: overcommit && overcommitOf(overcommit).limitBytes };
}

/** Throws `bad-argument` when a guest of the image cannot take commands within `timeoutMs` because of its limits. */
export function checkBoots(
  imageName: string,
  { least }: Pick<Image, 'least'>,
  { cpu: { limit, bucket } = {}, memoryLimitBytes }: BootLimits,
  timeoutMs: number,
): void {
  const percent = Math.ceil((100 * least.cpuMs) / timeoutMs);
  const needs = `under what a guest of the image ${imageName} needs to boot`;
  if (limit !== undefined && limit < percent)
    throw new HostError(
      'bad-argument',
      `cpu.limit of ${limit} % is ${needs} within ${timeoutMs / 1000} s, which is ${least.cpuMs / 1000} s of a processor's time, ${percent} % at least`,
    );
  const comes = bucket && bucket.burst + (timeoutMs / bucket.interval) * bucket.fill;
  if (comes !== undefined && comes < least.cpuMs)
    throw new HostError(
      'bad-argument',
      `cpu.bucket gives ${(comes / 1000).toFixed(1)} s of a processor's time within ${timeoutMs / 1000} s, ${needs}, which is ${least.cpuMs / 1000} s at least`,
    );
  if (memoryLimitBytes !== undefined && memoryLimitBytes < least.memoryLimitBytes)
    throw new HostError(
      'bad-argument',
      `overcommit.limit of ${formatSize(memoryLimitBytes)} is ${needs}, which is ${formatSize(least.memoryLimitBytes)} at least`,
    );
}

/** `, with 1 % of a processor and 20 MiB of memory at most`: what a guest was limited to that did not come up; nothing where it was not. */
export function limitsSaid({ limit, bucket }: ProcessorSettings, memoryLimit: number | string | undefined): string {
  const memoryLimitBytes = typeof memoryLimit === 'string' ? parseSize(memoryLimit) : memoryLimit;
  const said = [
    limit === undefined ? undefined : `${limit} % of a processor`,
    bucket && `${bucket.fill} ms of a processor's time each ${bucket.interval} ms`,
    memoryLimitBytes === undefined ? undefined : `${formatSize(memoryLimitBytes)} of memory`,
  ].filter((each) => each !== undefined);
  return said.length === 0 ? '' : `, with ${said.join(' and ')} at most`;
}
