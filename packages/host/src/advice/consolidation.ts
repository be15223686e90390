/**
 * How many recorded loads one host carries, and how many such hosts carry all of them.
 *
 *     of each load      processor time over the day, in intervals;  memory as it was sized (sizing.ts)
 *     of loads together the sum of processor time in each interval: peaks at different hours do not add up
 *     of the host       HOST_CPU_SHARE of its processors in the worst interval, HOST_MEMORY_SHARE of its memory
 *
 * Assumptions, for whoever reads the result: the future is like the record; days are alike (an interval's value is the largest of all days);
 * memory is not overcommitted; a vCPU runs where there is time, so the sum counts and not the number of vCPUs; disks and networks bind only
 * where the host's limits are given. Loads are put onto hosts first fit, the most demanding first, which takes at most a small part more hosts
 * than the best order would.
 */

import type { Quantity, RecordedLoad } from './load.ts';
import type { Sizing } from './sizing.ts';

const DAY_SECONDS = 86_400;
/** sar's own interval is ten minutes. */
export const INTERVAL_SECONDS = 600;
/** A sample is taken a little after its interval's end: sar is started by a timer. */
const LATE_SECONDS = 60;
const INTERVALS = DAY_SECONDS / INTERVAL_SECONDS;
/** What may be used at the worst time: the rest is for the host itself and for what was never recorded. */
export const HOST_CPU_SHARE = 0.8;
export const HOST_MEMORY_SHARE = 0.9;
/** Memory of a machine beside its guest's (docs/benchmarks.md, rounded). */
export const OVERHEAD_BYTES = 210e6;

export interface HostCapacity {
  readonly cpus: number;
  readonly memoryBytes: number;
  /** A second; no limit where they are not given. */
  readonly diskOperations?: number | undefined;
  readonly diskBytes?: number | undefined;
  readonly networkBytes?: number | undefined;
}

/** What a load takes of each resource: one number, or one for each interval of the day. */
interface Demand {
  readonly name: string;
  readonly memoryBytes: number;
  readonly byInterval: Readonly<Record<Timed, Float64Array>>;
}

const TIMED = ['cpuCores', 'diskOperations', 'diskBytes', 'networkBytes'] as const satisfies readonly Quantity[];
type Timed = (typeof TIMED)[number];

/** What ran out, for people. */
const RESOURCE: Readonly<Record<Timed | 'memoryBytes', string>> = {
  cpuCores: 'processors',
  memoryBytes: 'memory',
  diskOperations: 'disk operations',
  diskBytes: 'disk throughput',
  networkBytes: 'network throughput',
};

export interface Consolidation {
  /** Those that one host carries together, as many as possible. */
  readonly fitting: readonly string[];
  /** The others, and what there is too little of for them beside those. */
  readonly left: readonly { readonly name: string; readonly lacks: string }[];
  /** Loads by host, for as many hosts of that kind as all of them need. */
  readonly hosts: readonly (readonly string[])[];
  /** Those that no such host carries even alone. */
  readonly tooLarge: readonly { readonly name: string; readonly lacks: string }[];
  /** Of `fitting`: cores in the worst interval, and memory. */
  readonly peakCores: number;
  readonly memoryBytes: number;
}

class Host {
  readonly names: string[] = [];
  memoryBytes = 0;
  readonly #capacity: HostCapacity;
  readonly #sums: Readonly<Record<Timed, Float64Array>> = perInterval();

  constructor(capacity: HostCapacity) {
    this.#capacity = capacity;
  }

  get peakCores(): number {
    return this.#sums.cpuCores.reduce((most, value) => Math.max(most, value), 0);
  }

  /** Undefined when the load fits beside what is here, else what there is too little of. */
  lacks(demand: Demand): string | undefined {
    if (this.memoryBytes + demand.memoryBytes > limitOf(this.#capacity, 'memoryBytes')) return RESOURCE.memoryBytes;
    return TIMED.map((quantity) => {
      const limit = limitOf(this.#capacity, quantity);
      const sums = this.#sums[quantity];
      // A rounding error is no overload.
      return demand.byInterval[quantity].some((value, at) => value + (sums[at] ?? 0) > limit * (1 + 1e-9))
        ? RESOURCE[quantity]
        : undefined;
    }).find((lack) => lack !== undefined);
  }

  add(demand: Demand): void {
    this.names.push(demand.name);
    this.memoryBytes += demand.memoryBytes;
    for (const quantity of TIMED)
      for (const [at, value] of demand.byInterval[quantity].entries())
        this.#sums[quantity][at] = (this.#sums[quantity][at] ?? 0) + value;
  }
}

function perInterval(): Record<Timed, Float64Array> {
  const empty = (): Float64Array => new Float64Array(INTERVALS);
  return { cpuCores: empty(), diskOperations: empty(), diskBytes: empty(), networkBytes: empty() };
}

function limitOf(host: HostCapacity, quantity: Timed | 'memoryBytes'): number {
  if (quantity === 'cpuCores') return host.cpus * HOST_CPU_SHARE;
  if (quantity === 'memoryBytes') return host.memoryBytes * HOST_MEMORY_SHARE;
  return host[quantity] ?? Infinity;
}

/** The load's demand on this host: the mean of each interval of a day, the largest of all days. */
function demandOf(load: RecordedLoad, sizing: Sizing, cpuFactor: number): Demand {
  const byInterval = perInterval();
  for (const quantity of TIMED) {
    const sums = new Map<number, { sum: number; count: number }>();
    for (const { atSeconds, [quantity]: value } of load.samples) {
      if (value === undefined) continue;
      // A sample stands for the time before it.
      const at = Math.max(0, Math.ceil((atSeconds - LATE_SECONDS) / INTERVAL_SECONDS) - 1);
      const known = sums.get(at) ?? { sum: 0, count: 0 };
      sums.set(at, { sum: known.sum + value, count: known.count + 1 });
    }
    const factor = quantity === 'cpuCores' ? cpuFactor : 1;
    for (const [at, { sum, count }] of sums) {
      const place = at % INTERVALS;
      byInterval[quantity][place] = Math.max(byInterval[quantity][place] ?? 0, (sum / count) * factor);
    }
  }
  return { name: load.name, memoryBytes: (sizing.memoryBytes ?? 0) + OVERHEAD_BYTES, byInterval };
}

/** The share of a host that a load takes alone, of what it takes most of. */
function weight(demand: Demand, host: HostCapacity): number {
  const shares = TIMED.map((quantity) => {
    const peak = demand.byInterval[quantity].reduce((most, value) => Math.max(most, value), 0);
    return peak / limitOf(host, quantity);
  });
  return Math.max(demand.memoryBytes / limitOf(host, 'memoryBytes'), ...shares);
}

export function consolidate(
  loads: readonly { readonly load: RecordedLoad; readonly sizing: Sizing }[],
  host: HostCapacity,
  cpuFactor: number,
): Consolidation {
  const demands = loads
    .map(({ load, sizing }) => demandOf(load, sizing, cpuFactor))
    .map((demand) => ({ demand, share: weight(demand, host) }))
    .toSorted((a, b) => a.share - b.share)
    .map(({ demand }) => demand);

  // One host: the least demanding first, so that it carries as many as possible.
  const one = new Host(host);
  const left: { name: string; lacks: string }[] = [];
  for (const demand of demands) {
    const lacks = one.lacks(demand);
    if (lacks === undefined) one.add(demand);
    else left.push({ name: demand.name, lacks });
  }

  const hosts: Host[] = [];
  const tooLarge: { name: string; lacks: string }[] = [];
  for (const demand of demands.toReversed()) {
    const lacks = new Host(host).lacks(demand);
    if (lacks !== undefined) {
      tooLarge.push({ name: demand.name, lacks });
      continue;
    }
    let place = hosts.find((each) => each.lacks(demand) === undefined);
    if (place === undefined) hosts.push((place = new Host(host)));
    place.add(demand);
  }
  return {
    fitting: one.names,
    left,
    hosts: hosts.map(({ names }) => names),
    tooLarge,
    peakCores: one.peakCores,
    memoryBytes: one.memoryBytes,
  };
}
