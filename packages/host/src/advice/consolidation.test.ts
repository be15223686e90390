import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { HOST_CPU_SHARE, HOST_MEMORY_SHARE, OVERHEAD_BYTES, type HostCapacity, consolidate } from './consolidation.ts';
import type { RecordedLoad } from './load.ts';
import { readLoads } from './read-load.ts';
import { sizeFor } from './sizing.ts';

const GiB = 2 ** 30;
const HOUR = 3600;
const FACTOR = 4;

/** The three machines of docs/advice.md. */
const RECORDED = ['web.sar', 'db.sar', 'batch.csv'].flatMap((name) =>
  readLoads(readFileSync(new URL(`testing/${name}`, import.meta.url), 'utf8'), name),
);

function advise(
  loads: readonly RecordedLoad[],
  host: HostCapacity,
  cpuFactor = FACTOR,
): ReturnType<typeof consolidate> {
  return consolidate(
    loads.map((load) => ({ load, sizing: sizeFor(load, { cpuFactor }) })),
    host,
    cpuFactor,
  );
}

/** Busy with so many cores at the hours that are given, and idle else. */
function busyAt(name: string, cores: number, ...hours: readonly number[]): RecordedLoad {
  const samples = Array.from({ length: 144 }, (_, index) => {
    const atSeconds = (index + 1) * 600;
    return {
      atSeconds,
      cpuCores: hours.some((hour) => atSeconds > hour * HOUR && atSeconds <= (hour + 1) * HOUR) ? cores : 0,
      memoryBytes: GiB,
    };
  });
  return { name, cpus: 4, samples };
}

describe('the size of a machine', () => {
  const steady = (cores: number, memoryBytes = GiB): RecordedLoad => ({
    name: 'steady',
    cpus: 4,
    samples: Array.from({ length: 100 }, (_, index) => ({ atSeconds: 600 * index, cpuCores: cores, memoryBytes })),
  });

  test.each([
    [0, 1],
    [0.1, 1],
    [0.7, 1],
    [0.71, 2],
    [1.4, 2],
    [2, 3],
    [5.6, 8],
  ])('that is steadily busy with %f cores is %i vCPUs', (cores, vcpus) => {
    expect(sizeFor(steady(cores), { cpuFactor: 1 }).vcpus).toBe(vcpus);
  });

  test('counts what a core is worth here', () => {
    expect(sizeFor(steady(0.5), { cpuFactor: 4 })).toMatchObject({ vcpus: 3, busyCores: 2 });
  });

  test('does not follow bursts that are shorter than a twentieth of the time', () => {
    const samples = steady(0.2).samples.map((sample, index) => (index < 5 ? { ...sample, cpuCores: 4 } : sample));
    expect(sizeFor({ name: 'x', cpus: 4, samples }, { cpuFactor: 1 }).vcpus).toBe(1);
    const more = samples.map((sample, index) => (index < 6 ? { ...sample, cpuCores: 4 } : sample));
    expect(sizeFor({ name: 'x', cpus: 4, samples: more }, { cpuFactor: 1 }).vcpus).toBe(6);
  });

  test('says that processors were too many, or that one machine has not enough of them', () => {
    expect(sizeFor(steady(0.5), { cpuFactor: 1 }).notes).toEqual(['had 4 processors and does with 1']);
    expect(sizeFor(steady(10), { cpuFactor: 1 })).toMatchObject({
      vcpus: 8,
      notes: ['needs 15 vCPUs, and a machine has at most 8: divide its work over several'],
    });
  });

  test('is the most memory that was in use and a quarter, in steps, and never less than boots', () => {
    expect(sizeFor(steady(0, 2 * GiB), { cpuFactor: 1 }).memoryBytes).toBe(2.5 * GiB);
    expect(sizeFor(steady(0, GiB + 1), { cpuFactor: 1 }).memoryBytes).toBe(GiB + 320 * 2 ** 20);
    expect(sizeFor(steady(0, 1), { cpuFactor: 1 }).memoryBytes).toBe(256 * 2 ** 20);
  });

  test('is unknown where nothing was recorded', () => {
    expect(sizeFor({ name: 'x', cpus: 1, samples: [{ atSeconds: 0 }] }, { cpuFactor: 1 })).toMatchObject({
      vcpus: undefined,
      memoryBytes: undefined,
      notes: ['its record has no processor time', 'its record has no memory'],
    });
  });
});

describe('consolidation', () => {
  test('of the three recorded machines is what docs/advice.md calculates by hand', () => {
    const large = advise(RECORDED, { cpus: 12, memoryBytes: 16 * GiB });
    expect(large).toMatchObject({ fitting: ['web', 'db', 'batch'], left: [], hosts: [['batch', 'db', 'web']] });
    expect(large.peakCores).toBeCloseTo(9.2, 6);
    expect(large.memoryBytes).toBeCloseTo(7.5 * GiB + 3 * OVERHEAD_BYTES, -3);
    const small = advise(RECORDED, { cpus: 10, memoryBytes: 16 * GiB });
    expect(small).toMatchObject({
      fitting: ['web', 'db'],
      left: [{ name: 'batch', lacks: 'processors' }],
      hosts: [['batch', 'web'], ['db']],
      tooLarge: [],
    });
    expect(small.peakCores).toBeCloseTo(5.6, 6);
  });

  test('puts loads together whose hours differ, and not those that are busy together', () => {
    const host = { cpus: 5, memoryBytes: 64 * GiB };
    const day = busyAt('day', 1, 9, 10, 11);
    expect(advise([day, busyAt('night', 1, 1, 2)], host).fitting).toHaveLength(2);
    expect(advise([day, busyAt('noon', 1, 11, 12)], host)).toMatchObject({
      fitting: ['day'],
      left: [{ name: 'noon', lacks: 'processors' }],
      hosts: [['noon'], ['day']],
    });
  });

  test('of days that differ counts the worst one', () => {
    const samples = [
      { atSeconds: 600, cpuCores: 1 },
      { atSeconds: 86_400 + 600, cpuCores: 3 },
    ];
    expect(advise([{ name: 'x', cpus: 4, samples }], { cpus: 100, memoryBytes: 64 * GiB }, 1).peakCores).toBe(3);
  });

  test('says what a host lacks for a load that no such host carries', () => {
    const host = { cpus: 4, memoryBytes: GiB };
    expect(advise([busyAt('big', 0.1, 1)], host)).toMatchObject({
      fitting: [],
      hosts: [],
      tooLarge: [{ name: 'big', lacks: 'memory' }],
    });
    const samples = [{ atSeconds: 600, cpuCores: 0, networkBytes: 100 }];
    const net = advise([{ name: 'net', cpus: 1, samples }], { cpus: 4, memoryBytes: 8 * GiB, networkBytes: 50 });
    expect(net.tooLarge).toEqual([{ name: 'net', lacks: 'network throughput' }]);
  });

  test('never puts more on a host than it carries, and every load somewhere', () => {
    const load = fc.tuple(
      fc.double({ min: 0, max: 2, noNaN: true }),
      fc.integer({ min: 0, max: 23 }),
      fc.integer({ min: 1, max: 6 }),
    );
    fc.assert(
      fc.property(fc.array(load, { maxLength: 12 }), fc.integer({ min: 4, max: 16 }), (list, cpus) => {
        const loads = list.map(([cores, hour, gib], index) => {
          const { samples } = busyAt('', cores, hour);
          return { name: `m${index}`, cpus: 4, samples: samples.map((each) => ({ ...each, memoryBytes: gib * GiB })) };
        });
        const host = { cpus, memoryBytes: 8 * GiB };
        const { hosts, tooLarge, fitting, left } = advise(loads, host);
        expect([...hosts.flat(), ...tooLarge.map(({ name }) => name)].toSorted()).toEqual(
          loads.map(({ name }) => name).toSorted(),
        );
        expect(fitting.length + left.length).toBe(loads.length);
        for (const names of [...hosts, fitting]) {
          const here = loads.filter(({ name }) => names.includes(name));
          for (let at = 0; at < 144; at++) {
            const cores = here.reduce((sum, { samples }) => sum + FACTOR * (samples[at]?.cpuCores ?? 0), 0);
            expect(cores).toBeLessThanOrEqual(cpus * HOST_CPU_SHARE * (1 + 1e-6));
          }
          const memory = here.reduce(
            (sum, each) => sum + (sizeFor(each, { cpuFactor: 1 }).memoryBytes ?? 0) + OVERHEAD_BYTES,
            0,
          );
          expect(memory).toBeLessThanOrEqual(host.memoryBytes * HOST_MEMORY_SHARE);
        }
      }),
      { numRuns: 100 },
    );
  });
});
