/**
 * The PCIe host bridge of QEMU's virt machine (binding: pci-host-ecam-generic): configuration space of every function by address
 * (PCI Express Base 3.0, 7.2.2), one bus, and windows through which the harts reach the BARs.
 *
 *     ECAM address = bus << 20 | device << 15 | function << 12 | register
 *
 * The guest assigns BARs itself (Linux, U-Boot and EDK2 all do); a window finds the BAR by its current assignment. The four interrupt
 * pins of a device are swizzled over four lines: line = (pin - 1 + device) mod 4.
 */

import { assert } from '../../base/assert.ts';
import { MiB } from '../../base/numbers.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize, InterruptLine, MmioDevice, Placement } from '../device.ts';
import { CONFIGURATION_BYTES, ConfigurationSpace } from './configuration-space.ts';
import type { PciFunction } from './function.ts';

/** Devices on the bus; 0 is the bridge itself. */
export const SLOTS = 32;
/** One bus of ECAM. */
const BUS_BYTES = MiB;
const INTERRUPT_LINES = 4;
/** Registers of the header that can move a BAR. */
const HEADER_BYTES = 0x40;

/** What QEMU's bridge calls itself. */
const BRIDGE = {
  vendorId: 0x1b36,
  deviceId: 0x0008,
  revision: 0,
  classCode: 0x06_0000,
  subsystemVendorId: 0x1af4,
  subsystemId: 0x1100,
  interruptPin: 0,
  bars: [],
  capabilities: [],
} as const;

/** What an access to nobody reads: all ones (PCI 3.0, 6.1). */
function allOnes(size: AccessSize): number {
  return 2 ** (8 * size) - 1;
}

interface Decoded {
  readonly start: number;
  readonly end: number;
  readonly bar: number;
  readonly target: PciFunction;
}

export class PciHostBridge implements MmioDevice {
  readonly name: string;
  readonly #own = new ConfigurationSpace(BRIDGE);
  readonly #functions: (PciFunction | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  readonly #lines: readonly InterruptLine[];
  /** Which slots hold each line up, one bit per slot: lines are shared. */
  readonly #holders = new Int32Array(INTERRUPT_LINES);
  /** The BARs that answer, as the guest assigned them. Where two overlap the lower slot answers. */
  #decoded: readonly Decoded[] = [];

  /** `lines` are the interrupt controller's inputs for the swizzled INTA to INTD. */
  constructor(placement: Placement, lines: readonly InterruptLine[]) {
    assert(lines.length === INTERRUPT_LINES, 'a PCI host bridge has four interrupt lines');
    this.name = `pci@${placement.base.toString(16)}`;
    this.#lines = lines;
  }

  /** Puts a function into an empty slot, 1 to 31. */
  plug(slot: number, target: PciFunction): void {
    assert(slot > 0 && slot < SLOTS && this.#functions[slot] === undefined, `PCI slot ${slot} is not free`);
    this.#functions[slot] = target;
    const { interruptPin } = target.configuration;
    if (interruptPin > 0) {
      const line = (interruptPin - 1 + slot) % INTERRUPT_LINES;
      target.configuration.connect({ set: (level) => this.#hold(line, slot, level) });
    }
    this.#decode();
  }

  read(offset: number, size: AccessSize): number {
    const register = offset % 4096;
    const space = offset < BUS_BYTES && register < CONFIGURATION_BYTES ? this.#configurationAt(offset) : undefined;
    if (space === undefined) return allOnes(size);
    return 'readConfiguration' in space ? space.readConfiguration(register, size) : space.read(register, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const register = offset % 4096;
    const space = offset < BUS_BYTES && register < CONFIGURATION_BYTES ? this.#configurationAt(offset) : undefined;
    if (space === undefined) return;
    if ('writeConfiguration' in space) space.writeConfiguration(register, size, value);
    else space.write(register, size, value);
    if (register < HEADER_BYTES) this.#decode();
  }

  /** A load from memory space, at an address on the bus (which is the harts' address). */
  readMemory(address: number, size: AccessSize): number {
    const hit = this.#bar(address);
    return hit === undefined ? allOnes(size) : hit.target.readBar(hit.bar, address - hit.start, size);
  }

  writeMemory(address: number, size: AccessSize, value: number): void {
    const hit = this.#bar(address);
    hit?.target.writeBar(hit.bar, address - hit.start, size, value);
  }

  /** Whether a store there is a notice (MmioDevice.isNotice). */
  isNotice(address: number): boolean {
    const hit = this.#bar(address);
    return hit?.target.isNotice?.(hit.bar, address - hit.start) === true;
  }

  reset(): void {
    this.#own.reset();
    for (const target of this.#plugged()) target.reset();
    this.#decode();
  }

  async quiesce(): Promise<void> {
    await Promise.all(this.#plugged().map(async (target) => target.quiesce?.()));
  }

  resume(): void {
    for (const target of this.#plugged()) target.resume?.();
  }

  save(): Saved {
    return {
      bridge: this.#own.save(),
      functions: this.#plugged().map((target) => ({ name: target.name, state: target.save() })),
    };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.name);
    const restoreOwn = this.#own.restorer(reader.field('bridge'));
    const plugged = this.#plugged();
    const entries = reader.field('functions').list(plugged.length);
    for (const [index, entry] of entries.entries()) {
      const name = entry.field('name');
      if (name.text() !== plugged[index]?.name) name.refuse(`is not ${plugged[index]?.name}, which is plugged there`);
    }
    const before = plugged.map((target) => target.save());
    let restored = 0;
    try {
      for (const target of plugged) {
        target.restore(entries[restored]?.field('state').raw() ?? null);
        restored++;
      }
    } catch (error) {
      // What came before goes back, so that nothing is half restored.
      for (const [index, target] of plugged.slice(0, restored).entries()) target.restore(before[index] ?? null);
      throw error;
    }
    restoreOwn();
    this.#decode();
  }

  #plugged(): PciFunction[] {
    return this.#functions.filter((target) => target !== undefined);
  }

  #configurationAt(offset: number): PciFunction | ConfigurationSpace | undefined {
    const slot = (offset >>> 15) & (SLOTS - 1);
    // Every device has one function.
    if (((offset >>> 12) & 7) !== 0) return undefined;
    return slot === 0 ? this.#own : this.#functions[slot];
  }

  #decode(): void {
    this.#decoded = this.#plugged().flatMap((target) =>
      target.configuration.mappedBars().map(({ index, address, sizeBytes }) => ({
        start: address,
        end: address + sizeBytes,
        bar: index,
        target,
      })),
    );
  }

  #bar(address: number): Decoded | undefined {
    for (const range of this.#decoded) if (address >= range.start && address < range.end) return range;
    return undefined;
  }

  #hold(line: number, slot: number, level: boolean): void {
    const holders = this.#holders[line] ?? 0;
    const now = level ? holders | (1 << slot) : holders & ~(1 << slot);
    this.#holders[line] = now;
    this.#lines[line]?.set(now !== 0);
  }
}
