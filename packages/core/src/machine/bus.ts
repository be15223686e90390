/**
 * The bus: which device answers at a guest-physical address, and what a load or store there does. RAM is not on it; harts reach the bus
 * only where no RAM is.
 *
 *     hart --load(address, size)--> last region hit? --no--> binary search --> device.read(offset, size)
 *                                                    \--> nobody: access fault (Privileged ISA 3.6.1, vacant region)
 *
 * `load` and `store` return false for an access fault: nobody there, misaligned, reaching over the end of a device, or of a size the
 * device does not answer (3.6.2 and 3.6.4). Values cross as two 32-bit halves, so accesses up to 4 bytes allocate nothing and no bigint
 * is made unless the device itself speaks 64 bits.
 */

import { assert } from '../base/assert.ts';
import { hex } from '../base/numbers.ts';
import type { MmioDevice, Placement } from './device.ts';

/** Bytes of one access as a hart makes it. */
export type BusAccessSize = 1 | 2 | 4 | 8;

/** Devices that one bus may carry. */
export const MAXIMUM_REGIONS = 128;

const EVERY_SIZE = 1 | 2 | 4 | 8;

interface Region {
  readonly base: number;
  /** First address behind the region. */
  readonly end: number;
  readonly device: MmioDevice;
  readonly accessSizes: number;
}

export class Bus {
  /** What the last successful `load` gave, bits 31:0, unsigned; zero-extended from the size of the access. */
  low = 0;
  /** Bits 63:32 of it, unsigned; 0 unless it was of 8 bytes. */
  high = 0;

  /** INVARIANT: sorted by base, no overlaps. */
  readonly #regions: Region[] = [];
  #lastHit: Region | undefined;

  /** Puts `device` at `placement`. Overlaps and empty regions are mistakes of whoever builds the machine. */
  map(placement: Placement, device: MmioDevice): void {
    const base = placement.base;
    const end = base + placement.sizeBytes;
    assert(placement.sizeBytes > 0, `${device.name} has no address space`);
    assert(this.#regions.length < MAXIMUM_REGIONS, `the bus cannot carry more than ${MAXIMUM_REGIONS} devices`);
    const after = this.#regions.findIndex((region) => region.base >= end);
    const index = after < 0 ? this.#regions.length : after;
    const before = this.#regions[index - 1];
    assert(
      before === undefined || before.end <= base,
      `${device.name} at ${hex(base)} overlaps ${before?.device.name}`,
    );
    this.#regions.splice(index, 0, { base, end, device, accessSizes: device.accessSizes ?? EVERY_SIZE });
  }

  /** Takes `device` off the bus again. */
  unmap(device: MmioDevice): void {
    const index = this.#regions.findIndex((region) => region.device === device);
    assert(index >= 0, `${device.name} is not on the bus`);
    this.#regions.splice(index, 1);
    this.#lastHit = undefined;
  }

  /** The devices, by ascending address. */
  devices(): MmioDevice[] {
    return this.#regions.map((region) => region.device);
  }

  /** The device at `address`, when there is one. */
  deviceAt(address: number): MmioDevice | undefined {
    return this.#find(address)?.device;
  }

  /** Loads into `low` and `high`; false is a load access fault, and they keep their values. */
  load(address: number, size: BusAccessSize): boolean {
    const region = this.#accessed(address, size);
    if (region === undefined) return false;
    const { device } = region;
    const offset = address - region.base;
    if (size !== 8) {
      const value = device.read(offset, size);
      this.low = size === 4 ? value >>> 0 : value & (size === 1 ? 0xff : 0xffff);
      this.high = 0;
    } else if (device.read64 !== undefined) {
      const value = device.read64(offset);
      this.low = Number(value & 0xffff_ffffn);
      this.high = Number((value >> 32n) & 0xffff_ffffn);
    } else {
      this.low = device.read(offset, 4) >>> 0;
      this.high = device.read(offset + 4, 4) >>> 0;
    }
    return true;
  }

  /** Stores `low` (and `high`, of an access of 8 bytes), signed or unsigned; bits beyond the size are ignored. False is a store access fault. */
  store(address: number, size: BusAccessSize, low: number, high: number): boolean {
    const region = this.#accessed(address, size);
    if (region === undefined) return false;
    const { device } = region;
    const offset = address - region.base;
    switch (size) {
      case 1:
        device.write(offset, 1, low & 0xff);
        break;
      case 2:
        device.write(offset, 2, low & 0xffff);
        break;
      case 4:
        device.write(offset, 4, low >>> 0);
        break;
      case 8:
        if (device.write64 !== undefined) {
          device.write64(offset, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
        } else {
          device.write(offset, 4, low >>> 0);
          device.write(offset + 4, 4, high >>> 0);
        }
        break;
    }
    return true;
  }

  /** Whether a store at `address` is a notice (MmioDevice.isNotice). */
  isNotice(address: number): boolean {
    const region = this.#find(address);
    return region?.device.isNotice?.(address - region.base) === true;
  }

  /** The region that answers this access, or undefined for an access fault. */
  #accessed(address: number, size: number): Region | undefined {
    const region = this.#find(address);
    if (region === undefined || address + size > region.end || (region.accessSizes & size) === 0) return undefined;
    // Addresses may exceed 32 bits, but the low bits of a double below 2^53 survive the conversion that `&` makes.
    return (address & (size - 1)) === 0 ? region : undefined;
  }

  #find(address: number): Region | undefined {
    const last = this.#lastHit;
    if (last !== undefined && address >= last.base && address < last.end) return last;
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const region = this.#regions[middle];
      if (region === undefined || address < region.base) high = middle;
      else if (address >= region.end) low = middle + 1;
      else return (this.#lastHit = region);
    }
    return undefined;
  }
}
