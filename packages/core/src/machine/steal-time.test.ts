import { describe, expect, test } from 'vitest';
import type { MachineHart } from './hart.ts';
import { StealTime } from './steal-time.ts';
import { FakeMemory } from './testing/doubles.ts';

const RAM = 0x8000_0000;

class Ready implements Pick<MachineHart, 'runState' | 'stealMemory' | 'addSteal'> {
  runState: 'running' | 'waiting' = 'running';
  readonly stealMemory: number | undefined;
  stolen = 0n;

  constructor(at: number | undefined) {
    this.stealMemory = at;
  }

  addSteal(ns: number): bigint {
    this.stolen += BigInt(Math.round(ns));
    return this.stolen;
  }
}

function setUp(...places: readonly (number | undefined)[]) {
  const harts = places.map((at) => new Ready(at));
  const memory = new FakeMemory(RAM, 4096);
  const clock = { now: 0, processor: 0 };
  const steal = new StealTime(harts as unknown as MachineHart[], memory, {
    monotonicNs: () => clock.now,
    wallNs: () => 0n,
    threadNs: () => clock.processor,
  });
  const run = (hart: number, ns: number, processorNs = ns, idleNs = 0): void => {
    steal.begin(hart, clock.now, [...harts.keys()]);
    clock.now += ns;
    clock.processor += processorNs;
    steal.end(hart, ns, idleNs);
  };
  const told = (at: number): number[] => [
    memory.load32(at) ?? -1,
    memory.load64(at + 8) ?? -1,
    memory.load8(at + 16) ?? -1,
  ];
  return { harts, run, told };
}

describe('stolen time', () => {
  test('is the time that a hart was ready and others had their turn', () => {
    const { run, told } = setUp(RAM, RAM + 64);
    run(0, 100);
    run(1, 200);
    run(0, 300);
    run(1, 400);
    expect(told(RAM)[1]).toBe(200);
    expect(told(RAM + 64)[1]).toBe(100 + 300);
  });

  test('does not grow while a hart waits', () => {
    const { harts, run, told } = setUp(RAM, RAM + 64);
    run(1, 100);
    harts[1]!.runState = 'waiting';
    run(0, 1000);
    harts[1]!.runState = 'running';
    run(1, 100);
    expect(told(RAM + 64)[1]).toBe(0);
  });

  test('is told with an even sequence, and whether the hart is kept from running', () => {
    const { run, told } = setUp(RAM, RAM + 64);
    run(0, 100);
    run(1, 100);
    expect(told(RAM)).toEqual([2, 0, 1]);
    run(0, 100);
    expect(told(RAM)).toEqual([4, 100, 0]);
  });

  test('is also what the host had other work for, but not what a hart waits for a device', () => {
    const { run, told } = setUp(RAM);
    for (let slice = 0; slice < 30; slice++) run(0, 1e6, 5e5);
    for (let slice = 0; slice < 30; slice++) run(0, 1e6, 5e5, 5e5);
    const stolen = told(RAM)[1];
    expect(stolen).toBeGreaterThan(1.4e7);
    expect(stolen).toBeLessThan(1.6e7);
  });

  test('of a hart that does not want to know is told nobody', () => {
    const { harts, run, told } = setUp(undefined, RAM);
    run(0, 100);
    run(1, 100);
    run(0, 100);
    expect(harts[0]!.stolen).toBe(100n);
    expect(told(RAM).slice(1)).toEqual([100, 1]);
  });
});
