import type { UsageView } from '@ringfence/api';
import { describe, expect, test } from 'vitest';
import { LiveRecord, sizeForLive, TABLE_HEAD } from './live.ts';
import { readLoads } from './read-load.ts';

const MiB = 2 ** 20;
const STEP_S = 10;
const START = Date.parse('2026-11-26T23:59:00Z');

/** What a machine takes at `seconds`: cores, what it was kept from, memory, and what goes through its disks and cards a second. */
type Shape = (seconds: number) => {
  readonly cores: number;
  readonly kept?: number;
  readonly guestUsed?: number;
  readonly touched?: number;
  readonly diskOperations?: number;
  readonly diskBytes?: number;
  readonly networkBytes?: number;
};

/** Watches machines of those shapes, as the daemon would count them. */
function watched(shapes: Readonly<Record<string, Shape>>, has: { cpus: number; memoryMiB: number }, looks = 60) {
  const record = new LiveRecord();
  const lines: string[] = [];
  const sums = new Map<string, { cpu: number; operations: number; disk: number; network: number }>();
  const machines = Object.keys(shapes).map((name) => ({
    id: name,
    name,
    cpus: has.cpus,
    memoryBytes: has.memoryMiB * MiB,
  }));
  for (let look = 0; look < looks; look++) {
    const usages = Object.entries(shapes).map(([name, shape]): UsageView => {
      const now = shape(look * STEP_S);
      const sum = sums.get(name) ?? { cpu: 0, operations: 0, disk: 0, network: 0 };
      sums.set(name, sum);
      sum.cpu += now.cores * STEP_S * 1000;
      sum.operations += (now.diskOperations ?? 0) * STEP_S;
      sum.disk += (now.diskBytes ?? 0) * STEP_S;
      sum.network += (now.networkBytes ?? 0) * STEP_S;
      const pages = { zeroBytes: 0, sharedBytes: 0, savedBytes: 0, balloonBytes: 0, compressedBytes: 0, pagedBytes: 0 };
      return {
        id: name,
        name,
        state: 'running',
        at: new Date(START + look * STEP_S * 1000).toISOString(),
        cpuMs: Math.round(sum.cpu),
        residentBytes: 500 * MiB,
        guestResidentBytes: now.touched ?? has.memoryMiB * MiB,
        memoryBytes: has.memoryMiB * MiB,
        instructions: Math.round(sum.cpu),
        memory: { ...pages, ...(now.guestUsed === undefined ? {} : { guestUsedBytes: now.guestUsed }) },
        io: {
          diskOperations: Math.round(sum.operations),
          diskBytes: Math.round(sum.disk),
          networkBytes: Math.round(sum.network),
        },
        cpu: { demand: 0, used: 0, steal: 100 * (now.kept ?? 0), wait: 0 },
      };
    });
    lines.push(...record.add(usages, machines));
  }
  return { record, table: [TABLE_HEAD, ...lines].join('\n') };
}

const sizes = ({ record }: { readonly record: LiveRecord }) =>
  record.loads
    .map((live) => sizeForLive(live))
    .map(({ name, vcpus, memoryBytes = 0, notes }) => ({ name, vcpus, memory: memoryBytes / MiB, notes }));

describe('machines that are watched', () => {
  test('begin with one processor: little work, and much memory that is not used', () => {
    const idle = watched({ idle: () => ({ cores: 0.05, guestUsed: 100 * MiB }) }, { cpus: 4, memoryMiB: 2048 });
    expect(sizes(idle)).toEqual([
      {
        name: 'idle',
        vcpus: 1,
        memory: 256,
        notes: ['had 4 processors and does with 1', 'has 2 GiB of memory and does with 256 MiB'],
      },
    ]);
  });

  test('get a second processor when one is busy all the time, and what the guest uses and a quarter of memory', () => {
    const busy = watched({ busy: () => ({ cores: 0.98, guestUsed: 800 * MiB }) }, { cpus: 1, memoryMiB: 1024 });
    expect(sizes(busy)).toEqual([{ name: 'busy', vcpus: 2, memory: 1024, notes: ['has one processor and needs 2'] }]);
    const full = watched({ full: () => ({ cores: 0.2, guestUsed: 1000 * MiB }) }, { cpus: 1, memoryMiB: 1024 });
    expect(sizes(full)[0]).toMatchObject({ vcpus: 1, memory: 1280, notes: ['has 1 GiB of memory and needs 1.3 GiB'] });
  });

  test('that are kept from the processor want what they would have used', () => {
    // A limit of 50 %, and work for 1.9 processors.
    const held = watched(
      { held: () => ({ cores: 0.5, kept: 1.4, guestUsed: 100 * MiB }) },
      { cpus: 2, memoryMiB: 256 },
    );
    expect(sizes(held)[0]).toMatchObject({ vcpus: 3 });
  });

  test('with a short burst are not made for it', () => {
    // Two looks of sixty are 3 %: under the 95th percentile.
    const burst = watched(
      { burst: (seconds) => ({ cores: seconds >= 100 && seconds < 120 ? 3.5 : 0.3, guestUsed: 90 * MiB }) },
      { cpus: 4, memoryMiB: 512 },
    );
    expect(sizes(burst)[0]).toMatchObject({ vcpus: 1, memory: 256 });
  });

  test('of which the guest says nothing are taken at what they have touched', () => {
    const silent = watched({ silent: () => ({ cores: 0.1, touched: 96 * MiB }) }, { cpus: 1, memoryMiB: 128 });
    expect(sizes(silent)[0]).toMatchObject({ memory: 128, notes: [] });
  });

  test('are recorded as a table that gives the same loads when it is read', () => {
    const shapes: Readonly<Record<string, Shape>> = {
      web: (seconds) => ({ cores: 0.4 + seconds / 1000, guestUsed: 300 * MiB, networkBytes: 4e6 }),
      db: () => ({ cores: 1.5, guestUsed: 700 * MiB, diskOperations: 120, diskBytes: 8e6 }),
    };
    const { record, table } = watched(shapes, { cpus: 2, memoryMiB: 1024 });
    const read = readLoads(table, 'record.csv');
    expect(read.map(({ name, samples }) => [name, samples.length])).toEqual([
      ['web', 59],
      ['db', 59],
    ]);
    // Also over midnight.
    const live = record.loads.map(({ load }) => load.samples);
    expect(read.map(({ samples }) => samples)).toEqual(
      live.map((samples) =>
        samples.map((sample) => ({ ...sample, cpuCores: expect.closeTo(sample.cpuCores ?? 0, 3) as number })),
      ),
    );
    expect(read[1]?.samples[5]).toMatchObject({
      cpuCores: 1.5,
      memoryBytes: 700 * MiB,
      diskOperations: 120,
      diskBytes: 8e6,
    });
    expect(read[0]?.samples[5]).toMatchObject({ networkBytes: 4e6 });
  });

  test('that are started anew meanwhile lose one look and no more', () => {
    const record = new LiveRecord();
    const usage = (seconds: number, cpuMs: number): UsageView => ({
      id: 'a',
      name: 'a',
      state: 'running',
      at: new Date(START + seconds * 1000).toISOString(),
      cpuMs,
      residentBytes: 0,
      guestResidentBytes: 0,
      memoryBytes: 64 * MiB,
      instructions: cpuMs,
    });
    for (const [seconds, cpuMs] of [
      [0, 1000],
      [10, 3000],
      [20, 500],
      [30, 1500],
    ] as const)
      record.add([usage(seconds, cpuMs)], []);
    expect(record.loads[0]?.load.samples.map(({ cpuCores }) => cpuCores)).toEqual([0.2, 0.1]);
  });
});
