/**
 * How large a virtual machine for a recorded load has to be: begin with one vCPU, and give more only where the load shows that it needs
 * them. A vCPU that has nothing to do costs the others: it is scheduled, ticks, and makes the guest's locks wait.
 */

import { type RecordedLoad, percentile, valuesOf } from './load.ts';

const MiB = 2 ** 20;

export interface SizingOptions {
  /** Cores of this host that what took one core where it was recorded will take here, since guest code is translated. */
  readonly cpuFactor: number;
  /** LEAST_MEMORY_BYTES when it is not given. */
  readonly leastMemoryBytes?: number;
}

/** How a guest's processor time compares with the bare machine's: the geometric mean of docs/benchmarks.md, rounded. */
export const DEFAULT_CPU_FACTOR = 4;
/** Of machines that run here already. */
export const DEFAULT_LIVE_FACTOR = 1;
/** Of its vCPUs a machine may use so much at its 95th percentile: what is above comes in bursts, and queues double beyond it. */
export const TARGET_UTILIZATION = 0.7;
const BUSY_SHARE = 0.95;
/** Room above the most memory that was seen in use, for the page cache and what was not seen. */
export const MEMORY_ROOM = 1.25;
/** Memory comes in these. */
const MEMORY_STEP_BYTES = 64 * MiB;
/** A Debian with systemd does not boot with less. */
export const LEAST_MEMORY_BYTES: number = 256 * MiB;
/** One machine has no more harts (ARCHITECTURE.md). */
export const MOST_VCPUS = 8;

export interface Sizing {
  readonly name: string;
  /** Undefined where the record has no processor time, or no memory. */
  readonly vcpus: number | undefined;
  readonly memoryBytes: number | undefined;
  /** Cores of this host at the 95th percentile, after translation. */
  readonly busyCores: number | undefined;
  readonly peakMemoryBytes: number | undefined;
  /** Sentences about what the figures mean. */
  readonly notes: readonly string[];
}

export function sizeFor(
  load: RecordedLoad,
  { cpuFactor, leastMemoryBytes = LEAST_MEMORY_BYTES }: SizingOptions,
): Sizing {
  const notes: string[] = [];
  const busy = percentile(valuesOf(load, 'cpuCores'), BUSY_SHARE);
  const busyCores = busy === undefined ? undefined : busy * cpuFactor;
  let vcpus = busyCores === undefined ? undefined : Math.max(1, Math.ceil(busyCores / TARGET_UTILIZATION - 1e-9));
  if (vcpus !== undefined && vcpus > MOST_VCPUS) {
    notes.push(`needs ${vcpus} vCPUs, and a machine has at most ${MOST_VCPUS}: divide its work over several`);
    vcpus = MOST_VCPUS;
  }
  if (vcpus !== undefined && load.cpus !== undefined && vcpus < load.cpus)
    notes.push(`had ${load.cpus} processors and does with ${vcpus}`);
  const memory = valuesOf(load, 'memoryBytes');
  const peakMemoryBytes = memory.length === 0 ? undefined : memory.reduce((most, value) => Math.max(most, value));
  const memoryBytes =
    peakMemoryBytes === undefined
      ? undefined
      : Math.max(leastMemoryBytes, Math.ceil((peakMemoryBytes * MEMORY_ROOM) / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES);
  if (vcpus === undefined) notes.push('its record has no processor time');
  if (memoryBytes === undefined) notes.push('its record has no memory');
  return { name: load.name, vcpus, memoryBytes, busyCores, peakMemoryBytes, notes };
}
