/**
 * Virtio over PCI (virtio 1.3, 4.1), the modern interface only: four structures in one 64-bit memory BAR, found through vendor
 * capabilities, and INTA while the ISR status is not zero.
 *
 *     BAR 4:  0x0000 common configuration   0x1000 ISR status   0x2000 device configuration   0x3000 notifications, 4 bytes per queue
 *
 * There is no MSI-X: the machine has no controller for messages. BAR 1 stays free for its table, as QEMU has it.
 */

import { assert } from '../../base/assert.ts';
import { KiB, hex } from '../../base/numbers.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize, FaultSink, GuestMemory } from '../device.ts';
import { ConfigurationSpace, MEMORY_BAR_64 } from '../pci/configuration-space.ts';
import type { PciFunction } from '../pci/function.ts';
import { COMMON_REGISTERS } from './common-registers.ts';
import type { CommonRegister } from './common-registers.ts';
import { CommonConfiguration } from './common-configuration.ts';
import { VIRTIO_ID } from './virtio-device.ts';
import type { VirtioDevice } from './virtio-device.ts';

const VENDOR_ID = 0x1af4;
/** Device IDs of modern devices begin here (4.1.2). */
const FIRST_DEVICE_ID = 0x1040;
/** What QEMU puts there; modern devices want 0x40 or more (4.1.2.1). */
const SUBSYSTEM_ID = 0x1100;
const REVISION = 1;

/** Class codes as QEMU gives them: Ethernet, SCSI storage, other communication, unclassified, other storage. */
const CLASS_CODES: ReadonlyMap<number, number> = new Map([
  [VIRTIO_ID.NETWORK, 0x02_0000],
  [VIRTIO_ID.BLOCK, 0x01_0000],
  [VIRTIO_ID.CONSOLE, 0x07_8000],
  [VIRTIO_ID.ENTROPY, 0x00_ff00],
  [VIRTIO_ID.FILE_SYSTEM, 0x01_8000],
]);
const CLASS_OTHER = 0x00_ff00;

const BAR = 4;
const BAR_SIZE = 16 * KiB;
const REGION_SIZE = 4 * KiB;
const REGION = { common: 0, isr: 1, device: 2, notify: 3 } as const;
const NOTIFY_MULTIPLIER = 4;
const MAXIMUM_QUEUES = REGION_SIZE / NOTIFY_MULTIPLIER;

/** Capability IDs (PCI 3.0, appendix H) and `cfg_type` (4.1.4). */
const VENDOR_SPECIFIC = 0x09;
const CFG_TYPE = { common: 1, notify: 2, isr: 3, device: 4, pciAccess: 5 } as const;

/** Offsets in struct virtio_pci_cap and what follows it. */
const CAP = { bar: 4, offset: 8, length: 12, data: 16 } as const;

export interface VirtioPciParts {
  /** Where it is plugged, for its name; the host bridge is told separately. */
  readonly slot: number;
  readonly device: VirtioDevice;
  readonly memory: GuestMemory;
  readonly faults: FaultSink;
}

export class VirtioPci implements PciFunction {
  readonly name: string;
  readonly configuration: ConfigurationSpace;
  readonly #common: CommonConfiguration;
  /** Where the capability for access through configuration space is (4.1.4.9). */
  readonly #accessCapability: number;

  constructor(parts: VirtioPciParts) {
    const { device, memory, faults } = parts;
    assert(device.queueSizes.length <= MAXIMUM_QUEUES, `${device.kind} has too many queues`);
    this.name = `${device.kind}@${parts.slot.toString(16)},0`;
    const capabilities = [
      structureCapability(CFG_TYPE.common, REGION.common),
      structureCapability(CFG_TYPE.isr, REGION.isr),
      structureCapability(CFG_TYPE.device, REGION.device),
      structureCapability(CFG_TYPE.notify, REGION.notify, NOTIFY_MULTIPLIER),
      accessCapability(),
    ];
    this.configuration = new ConfigurationSpace({
      vendorId: VENDOR_ID,
      deviceId: FIRST_DEVICE_ID + device.deviceType,
      revision: REVISION,
      classCode: CLASS_CODES.get(device.deviceType) ?? CLASS_OTHER,
      subsystemVendorId: VENDOR_ID,
      subsystemId: SUBSYSTEM_ID,
      interruptPin: 1,
      bars: [{ index: BAR, sizeBytes: BAR_SIZE, kind: MEMORY_BAR_64 }],
      capabilities,
    });
    this.#accessCapability = this.configuration.capabilityOffsets.at(-1) ?? 0;
    this.#common = new CommonConfiguration({
      name: this.name,
      device,
      memory,
      faults,
      waitsForReset: true,
      interruptChanged: (status) => this.configuration.setInterrupt(status !== 0),
    });
  }

  readBar(_bar: number, offset: number, size: AccessSize): number {
    const common = this.#common;
    const at = offset % REGION_SIZE;
    switch (Math.floor(offset / REGION_SIZE)) {
      case REGION.common:
        return this.#commonRegister(at, size)?.read?.(common) ?? 0;
      case REGION.isr: {
        // Reading takes the bits away and lowers the interrupt.
        const status = at === 0 ? common.interruptStatus : 0;
        if (at === 0) common.acknowledgeInterrupt(status);
        return status;
      }
      case REGION.device:
        return common.readConfiguration(at, size);
      default:
        return 0;
    }
  }

  writeBar(_bar: number, offset: number, size: AccessSize, value: number): void {
    const common = this.#common;
    const at = offset % REGION_SIZE;
    switch (Math.floor(offset / REGION_SIZE)) {
      case REGION.common:
        this.#commonRegister(at, size)?.write?.(common, value);
        break;
      case REGION.device:
        common.writeConfiguration(at, size, value);
        break;
      case REGION.notify:
        // The place says which queue; the value written says so again.
        common.notifyQueue(Math.floor(at / NOTIFY_MULTIPLIER));
        break;
    }
  }

  isNotice(_bar: number, offset: number): boolean {
    return Math.floor(offset / REGION_SIZE) === REGION.notify;
  }

  /** Reads of `pci_cfg_data` go to the BAR that the capability selects. */
  readConfiguration(offset: number, size: AccessSize): number {
    if (this.#touchesAccessData(offset, size)) {
      const target = this.#accessTarget();
      const value = target === undefined ? 0 : this.readBar(BAR, target.offset, target.size);
      this.configuration.put(this.#accessCapability + CAP.data, 4, value);
    }
    return this.configuration.read(offset, size);
  }

  writeConfiguration(offset: number, size: AccessSize, value: number): void {
    this.configuration.write(offset, size, value);
    if (!this.#touchesAccessData(offset, size)) return;
    const target = this.#accessTarget();
    if (target === undefined) return;
    const data = this.configuration.read(this.#accessCapability + CAP.data, target.size);
    this.writeBar(BAR, target.offset, target.size, data);
  }

  reset(): void {
    this.configuration.reset();
    this.#common.powerOn();
  }

  quiesce(): Promise<void> {
    return this.#common.quiesce();
  }

  resume(): void {
    this.#common.resume();
  }

  save(): Saved {
    return { configuration: this.configuration.save(), virtio: this.#common.save() };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.name);
    const restoreConfiguration = this.configuration.restorer(reader.field('configuration'));
    this.#common.restore(reader.field('virtio'));
    restoreConfiguration();
    this.configuration.setInterrupt(this.#common.interruptStatus !== 0);
  }

  #commonRegister(offset: number, size: AccessSize): CommonRegister | undefined {
    const register = COMMON_REGISTERS.get(offset);
    if (register?.size === size) return register;
    this.#common.complain(
      `the driver accessed ${size} bytes at ${hex(offset)} of the common configuration, where no such field is`,
    );
    return undefined;
  }

  #touchesAccessData(offset: number, size: number): boolean {
    const data = this.#accessCapability + CAP.data;
    return offset < data + 4 && offset + size > data;
  }

  /** What the access capability selects, or undefined when it selects nothing that exists. */
  #accessTarget(): { readonly offset: number; readonly size: AccessSize } | undefined {
    const { configuration } = this;
    const bar = configuration.read(this.#accessCapability + CAP.bar, 1);
    const offset = configuration.read(this.#accessCapability + CAP.offset, 4);
    const size = configuration.read(this.#accessCapability + CAP.length, 4);
    if (bar !== BAR || (size !== 1 && size !== 2 && size !== 4)) return undefined;
    return offset % size === 0 && offset + size <= BAR_SIZE ? { offset, size } : undefined;
  }
}

/** struct virtio_pci_cap: where one structure is. */
function structureCapability(cfgType: number, region: number, extra?: number): { readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(extra === undefined ? 16 : 20);
  const view = new DataView(bytes.buffer);
  bytes.set([VENDOR_SPECIFIC, 0, bytes.length, cfgType, BAR]);
  view.setUint32(CAP.offset, region * REGION_SIZE, true);
  view.setUint32(CAP.length, REGION_SIZE, true);
  if (extra !== undefined) view.setUint32(16, extra, true);
  return { bytes };
}

/** struct virtio_pci_cfg_cap: a window that the driver moves. */
function accessCapability(): { readonly bytes: Uint8Array; readonly writable: Uint8Array } {
  const bytes = new Uint8Array(20);
  bytes.set([VENDOR_SPECIFIC, 0, bytes.length, CFG_TYPE.pciAccess]);
  const writable = new Uint8Array(20);
  writable.fill(0xff, CAP.offset);
  writable[CAP.bar] = 0xff;
  return { bytes, writable };
}
