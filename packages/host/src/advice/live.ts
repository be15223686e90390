/**
 * Watches machines that a daemon runs: from its counters, looked at again and again, to the same record that sar or a table of comma-separated values
 * gives (read-load.ts), and to such a table.
 *
 *     processors   the demand of its vCPUs where the daemon knows it, with what they were kept from; else its process's time
 *     memory       what the guest says that nobody else could have; else all that it has touched, which is more
 *     disks, cards operations and bytes
 */

import type { MachineView, UsageView } from '@ringfence/api';
import { formatSize } from '@ringfence/core/sizes';
import type { LoadSample, RecordedLoad } from './load.ts';
import { MAXIMUM_SAMPLES } from './read-load.ts';
import { DEFAULT_LIVE_FACTOR, LEAST_MEMORY_BYTES, type Sizing, sizeFor } from './sizing.ts';

const DAY_SECONDS = 86_400;
export const TABLE_HEAD = 'time,name,cpu_cores,memory_bytes,disk_operations,disk_bytes,network_bytes';

/** What a machine has at present. */
export type Has = Pick<MachineView, 'name' | 'cpus' | 'memoryBytes'>;

/** A load that was watched, and of which machine. */
export interface LiveLoad {
  readonly has: Has;
  readonly load: RecordedLoad;
}

export class LiveRecord {
  readonly #machines = new Map<string, { has: Has; before: UsageView | undefined; readonly samples: LoadSample[] }>();
  #dayStart: number | undefined;

  /** What each had since the last look; gives the lines for a table (TABLE_HEAD). Those of which nothing can be said yet have none. */
  add(usages: readonly UsageView[], machines: readonly Has[]): string[] {
    const lines: string[] = [];
    for (const usage of usages) {
      const known = this.#machines.get(usage.id) ?? { has: hasOf(usage, machines), before: undefined, samples: [] };
      this.#machines.set(usage.id, known);
      known.has = hasOf(usage, machines);
      const rates = known.before && between(known.before, usage);
      known.before = usage;
      if (rates === undefined || known.samples.length >= MAXIMUM_SAMPLES) continue;
      const seconds = Date.parse(usage.at) / 1000;
      this.#dayStart ??= seconds - (seconds % DAY_SECONDS);
      known.samples.push({ atSeconds: seconds - this.#dayStart, ...rates });
      const cells = [rates.cpuCores, rates.memoryBytes, rates.diskOperations, rates.diskBytes, rates.networkBytes];
      lines.push([usage.at, usage.name, ...cells.map((cell) => (cell === undefined ? '' : plain(cell)))].join(','));
    }
    return lines;
  }

  /** Of machines of which something was seen. */
  get loads(): LiveLoad[] {
    return [...this.#machines.values()]
      .filter(({ samples }) => samples.length > 0)
      .map(({ has, samples }) => ({ has, load: { name: has.name, cpus: has.cpus, samples } }));
  }
}

/** How large a machine that was watched has to be, beside what it has. A core of it is one of this host's. */
export function sizeForLive({ has, load }: LiveLoad, cpuFactor: number = DEFAULT_LIVE_FACTOR): Sizing {
  // One that does with less than others boot with need not have more.
  const sizing = sizeFor(load, { cpuFactor, leastMemoryBytes: Math.min(LEAST_MEMORY_BYTES, has.memoryBytes) });
  const { vcpus = has.cpus, memoryBytes = has.memoryBytes } = sizing;
  const notes = [...sizing.notes];
  if (vcpus > has.cpus)
    notes.push(`has ${has.cpus === 1 ? 'one processor' : `${has.cpus} processors`} and needs ${vcpus}`);
  if (memoryBytes !== has.memoryBytes) {
    const does = memoryBytes < has.memoryBytes ? 'does with' : 'needs';
    notes.push(`has ${formatSize(has.memoryBytes)} of memory and ${does} ${formatSize(memoryBytes)}`);
  }
  return { ...sizing, notes };
}

function hasOf({ id, name, memoryBytes }: UsageView, machines: readonly (Has & { readonly id?: string })[]): Has {
  const machine = machines.find((each) => each.id === id) ?? machines.find((each) => each.name === name);
  return { name, cpus: machine?.cpus ?? 1, memoryBytes };
}

/** Undefined when no time has passed, or it is another run: counters begin anew. */
function between(before: UsageView, now: UsageView): Required<Omit<LoadSample, 'atSeconds'>> | undefined {
  const seconds = (Date.parse(now.at) - Date.parse(before.at)) / 1000;
  const isOther = now.cpuMs < before.cpuMs || now.instructions < before.instructions;
  if (!(seconds > 0) || isOther) return undefined;
  const rate = (field: 'diskOperations' | 'diskBytes' | 'networkBytes'): number =>
    Math.max(0, (now.io?.[field] ?? 0) - (before.io?.[field] ?? 0)) / seconds;
  const used = (now.cpuMs - before.cpuMs) / 1000 / seconds;
  const kept = now.cpu === undefined ? 0 : (now.cpu.steal + now.cpu.wait) / 100;
  const { memory } = now;
  return {
    cpuCores: used + kept,
    memoryBytes:
      memory?.guestUsedBytes ?? now.guestResidentBytes + (memory?.compressedBytes ?? 0) + (memory?.pagedBytes ?? 0),
    diskOperations: rate('diskOperations'),
    diskBytes: rate('diskBytes'),
    networkBytes: rate('networkBytes'),
  };
}

function plain(value: number): string {
  return String(Math.round(value * 10_000) / 10_000);
}
