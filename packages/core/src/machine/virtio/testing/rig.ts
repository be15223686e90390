/**
 * A virtio device on a bench: one device over one transport, with guest memory, an interrupt line, recorded faults and a driver. Suites
 * run over TRANSPORTS, so that every device is tested over both.
 */

import { MiB, PAGE_SIZE, guestPhysical } from '../../../base/numbers.ts';
import type { AccessSize, Device, MmioDevice } from '../../device.ts';
import { PciHostBridge } from '../../pci/host-bridge.ts';
import { PciWindow } from '../../pci/window.ts';
import { FakeLine, RecordedFaults } from '../../testing/doubles.ts';
import { VirtioMmio } from '../transport-mmio.ts';
import { VirtioPci } from '../transport-pci.ts';
import { STATUS } from '../virtio-device.ts';
import type { VirtioDevice } from '../virtio-device.ts';
import { GuestAllocator, GuestQueue } from './guest-queue.ts';
import { MmioGuest, PciGuest } from './guest-transport.ts';
import type { GuestTransport } from './guest-transport.ts';
import { ScatteredMemory } from './scattered-memory.ts';

export const RAM_BASE = 0x8000_0000;
const RAM_PAGES = 256;
const SLOT = 1;
const WINDOW = { base: guestPhysical(0x4000_0000), sizeBytes: MiB };

export const TRANSPORTS = ['mmio', 'pci'] as const;
export type TransportName = (typeof TRANSPORTS)[number];

export interface StartOptions {
  /** Feature bits not to accept; all others offered are. */
  readonly without?: readonly number[];
  /** Size of each queue; the largest when absent. */
  readonly queueSize?: number;
  /** Leaves the device just before DRIVER_OK. */
  readonly stopBeforeDriverOk?: boolean;
}

const RIGS = new WeakMap<Device, Rig>();

export class Rig<D extends VirtioDevice = VirtioDevice> {
  readonly virtio: D;
  readonly memory: ScatteredMemory;
  readonly allocator: GuestAllocator;
  readonly faults = new RecordedFaults();
  readonly line = new FakeLine();
  /** What the machine would have. */
  readonly machineDevice: Device;
  /** Accesses a register; region 0 is the registers over MMIO, and the BAR in pages of 4 KiB over PCI. A value makes it a store. */
  readonly access: (region: number, offset: number, size: AccessSize, value?: number) => number;
  guest: GuestTransport;
  readonly #newGuest: () => GuestTransport;
  readonly queues: GuestQueue[] = [];

  constructor(transport: TransportName, virtio: D, ramPages = RAM_PAGES) {
    this.virtio = virtio;
    this.memory = new ScatteredMemory(RAM_BASE, ramPages);
    this.allocator = new GuestAllocator(this.memory);
    const parts = { device: virtio, memory: this.memory, faults: this.faults };
    if (transport === 'mmio') {
      const placement = { base: guestPhysical(0x1000_1000), sizeBytes: PAGE_SIZE };
      const mmio = new VirtioMmio({ ...parts, placement, interrupt: this.line });
      this.machineDevice = mmio;
      this.access = accessor(mmio, 0);
      this.#newGuest = () => new MmioGuest(mmio);
    } else {
      const idle = new FakeLine();
      // Slot 1's INTA comes out on the second line.
      const bridge = new PciHostBridge({ base: guestPhysical(0x3000_0000), sizeBytes: 256 * MiB }, [
        idle,
        this.line,
        idle,
        idle,
      ]);
      bridge.plug(SLOT, new VirtioPci({ ...parts, slot: SLOT }));
      const window = new PciWindow(WINDOW, bridge);
      this.machineDevice = bridge;
      this.access = accessor(window, PAGE_SIZE);
      this.#newGuest = () => new PciGuest(bridge, window, WINDOW.base, SLOT);
    }
    this.guest = this.#newGuest();
    RIGS.set(this.machineDevice, this);
  }

  /** The rig that a machine's device sits on. */
  static of(device: Device): Rig {
    const rig = RIGS.get(device);
    if (rig === undefined) throw new Error(`${device.name} is on no rig`);
    return rig;
  }

  /** Finds the device again, as a guest does after power-on: BARs are assigned anew. */
  findDevice(): void {
    this.guest = this.#newGuest();
  }

  /** Brings the device up as in virtio 1.3, 3.1.1. */
  start(options: StartOptions = {}): this {
    const { guest } = this;
    guest.setStatus(0);
    guest.setStatus(STATUS.ACKNOWLEDGE);
    guest.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    for (const word of [0, 1]) {
      let bits = guest.deviceFeatures(word);
      for (const bit of options.without ?? []) if (bit >>> 5 === word) bits = (bits & ~(1 << (bit & 31))) >>> 0;
      guest.setDriverFeatures(word, bits);
    }
    guest.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
    if ((guest.status() & STATUS.FEATURES_OK) === 0) throw new Error('the device refused its own features');
    this.queues.length = 0;
    for (let index = 0; guest.queueSizeMax(index) !== 0; index++) {
      const queue = new GuestQueue(this.allocator, Math.min(options.queueSize ?? Infinity, guest.queueSizeMax(index)));
      guest.enableQueue(index, queue);
      this.queues.push(queue);
    }
    if (options.stopBeforeDriverOk !== true) this.driverOk();
    return this;
  }

  driverOk(): void {
    this.guest.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK | STATUS.DRIVER_OK);
  }

  queue(index: number): GuestQueue {
    const queue = this.queues[index];
    if (queue === undefined) throw new Error(`there is no queue ${index}`);
    return queue;
  }

  get needsReset(): boolean {
    return (this.guest.status() & STATUS.DEVICE_NEEDS_RESET) !== 0;
  }
}

function accessor(device: MmioDevice, regionSize: number): Rig['access'] {
  return (region, offset, size, value) => {
    const at = region * regionSize + offset;
    if (value === undefined) return device.read(at, size);
    device.write(at, size, value);
    return value;
  };
}
