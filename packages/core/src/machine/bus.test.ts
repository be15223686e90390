import { describe, expect, test } from 'vitest';
import { AssertionFailure } from '../base/assert.ts';
import { guestPhysical } from '../base/numbers.ts';
import type { Saved } from '../base/saved.ts';
import { Bus } from './bus.ts';
import type { AccessSize, MmioDevice, Placement } from './device.ts';

/** Writes down what reaches it; reads give the offset in every byte. */
class Recorder implements MmioDevice {
  readonly name: string;
  readonly accessSizes?: number;
  readonly log: string[] = [];

  constructor(name: string, accessSizes?: number) {
    this.name = name;
    if (accessSizes !== undefined) this.accessSizes = accessSizes;
  }

  reset(): void {}
  save(): Saved {
    return null;
  }
  restore(): void {}

  read(offset: number, size: AccessSize): number {
    this.log.push(`read${size} ${offset}`);
    return 0xf000_0000 + offset;
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.log.push(`write${size} ${offset} ${value.toString(16)}`);
  }
}

class Wide extends Recorder {
  read64(offset: number): bigint {
    this.log.push(`read64 ${offset}`);
    return 0xfedc_ba98_8765_4321n;
  }

  write64(offset: number, value: bigint): void {
    this.log.push(`write64 ${offset} ${value.toString(16)}`);
  }
}

function at(base: number, sizeBytes: number): Placement {
  return { base: guestPhysical(base), sizeBytes };
}

describe('finding the device', () => {
  test('an address reaches the device that lies there, as an offset into it', () => {
    const bus = new Bus();
    const devices = [5, 1, 4, 2, 3].map((n) => {
      const device = new Recorder(`d@${n}000`);
      bus.map(at(n * 0x1000, 0x800), device);
      return device;
    });
    for (const n of [1, 2, 3, 4, 5, 3, 1]) {
      expect(bus.deviceAt(n * 0x1000)?.name).toBe(`d@${n}000`);
      expect(bus.deviceAt(n * 0x1000 + 0x7ff)?.name).toBe(`d@${n}000`);
      expect(bus.deviceAt(n * 0x1000 + 0x800)).toBeUndefined();
      expect(bus.deviceAt(n * 0x1000 - 1)).toBeUndefined();
    }
    expect(bus.load(0x3004, 4)).toBe(true);
    expect(devices[4]?.log).toEqual(['read4 4']);
    expect(bus.devices().map((device) => device.name)).toEqual(['d@1000', 'd@2000', 'd@3000', 'd@4000', 'd@5000']);
  });

  test('regions above 4 GiB keep their alignment checks', () => {
    const bus = new Bus();
    bus.map(at(0x4_0000_0000, 0x4_0000_0000), new Recorder('high@400000000'));
    expect(bus.load(0x7_ffff_fffc, 4)).toBe(true);
    expect(bus.low).toBe(0xefff_fffc);
    expect(bus.load(0x7_ffff_fffd, 4)).toBe(false);
    expect(bus.load(0x7_ffff_fffe, 4)).toBe(false);
    expect(bus.load(0x8_0000_0000, 4)).toBe(false);
  });

  test('overlapping regions are refused', () => {
    const bus = new Bus();
    bus.map(at(0x1000, 0x1000), new Recorder('a@1000'));
    for (const region of [at(0x1000, 0x1000), at(0xfff, 2), at(0x1fff, 0x10), at(0x1100, 4), at(0, 0x10000)]) {
      expect(() => bus.map(region, new Recorder('b@1'))).toThrow(AssertionFailure);
    }
    bus.map(at(0xf00, 0x100), new Recorder('below@f00'));
    bus.map(at(0x2000, 1), new Recorder('above@2000'));
    expect(() => bus.map(at(0x9000, 0), new Recorder('empty@9000'))).toThrow(/no address space/);
  });

  test('a device taken off the bus no longer answers, even when it was hit last', () => {
    const bus = new Bus();
    const device = new Recorder('a@1000');
    bus.map(at(0x1000, 0x1000), device);
    expect(bus.load(0x1000, 4)).toBe(true);
    bus.unmap(device);
    expect(bus.load(0x1000, 4)).toBe(false);
  });
});

describe('access faults', () => {
  const bus = new Bus();
  const uart = new Recorder('uart@100');
  const plic = new Recorder('plic@200', 4);
  bus.map(at(0x100, 0x18), uart);
  bus.map(at(0x200, 0x100), plic);

  test('nobody there', () => {
    expect(bus.load(0, 1)).toBe(false);
    expect(bus.store(0x118, 1, 0, 0)).toBe(false);
  });

  test('misaligned', () => {
    for (const [address, size] of [
      [0x101, 2],
      [0x102, 4],
      [0x104, 8],
    ] as const) {
      expect(bus.load(address, size)).toBe(false);
      expect(bus.store(address, size, 0, 0)).toBe(false);
    }
    expect(uart.log).toEqual([]);
  });

  test('reaching over the end', () => {
    const edge = new Bus();
    edge.map(at(0x100, 6), uart);
    expect(edge.load(0x104, 4)).toBe(false);
    expect(edge.load(0x104, 2)).toBe(true);
  });

  test('of a size the device does not answer', () => {
    expect(bus.load(0x200, 1)).toBe(false);
    expect(bus.load(0x200, 8)).toBe(false);
    expect(bus.store(0x200, 2, 0, 0)).toBe(false);
    expect(bus.load(0x200, 4)).toBe(true);
  });

  test('a fault leaves the last result alone', () => {
    expect(bus.load(0x204, 4)).toBe(true);
    expect(bus.load(0, 8)).toBe(false);
    expect([bus.low, bus.high]).toEqual([0xf000_0004, 0]);
  });
});

describe('values', () => {
  test('stores arrive unsigned and cut to their size, whatever sign the halves have', () => {
    const bus = new Bus();
    const device = new Recorder('d@0');
    bus.map(at(0, 0x100), device);
    bus.store(1, 1, -1, -1);
    bus.store(2, 2, -1, -1);
    bus.store(4, 4, -1, -1);
    expect(device.log).toEqual(['write1 1 ff', 'write2 2 ffff', 'write4 4 ffffffff']);
  });

  test('8 bytes become two accesses, low first, unless the device has 64-bit registers', () => {
    const bus = new Bus();
    const narrow = new Recorder('narrow@0');
    const wide = new Wide('wide@100');
    bus.map(at(0, 0x100), narrow);
    bus.map(at(0x100, 0x100), wide);
    expect(bus.load(8, 8)).toBe(true);
    expect([bus.low, bus.high]).toEqual([0xf000_0008, 0xf000_000c]);
    bus.store(8, 8, -2, 1);
    expect(narrow.log).toEqual(['read4 8', 'read4 12', 'write4 8 fffffffe', 'write4 12 1']);
    expect(bus.load(0x108, 8)).toBe(true);
    expect([bus.low, bus.high]).toEqual([0x8765_4321, 0xfedc_ba98]);
    bus.store(0x108, 8, -2, -1);
    expect(wide.log).toEqual(['read64 8', 'write64 8 fffffffffffffffe']);
    expect(bus.load(0x10c, 4)).toBe(true);
    expect(bus.high).toBe(0);
  });

  test('loads give no more than their size, whatever the device gave', () => {
    const bus = new Bus();
    bus.map(at(0, 0x1000), new Recorder('d@0'));
    bus.load(0x123, 1);
    expect(bus.low).toBe(0x23);
    bus.load(0x124, 2);
    expect(bus.low).toBe(0x124);
  });
});
