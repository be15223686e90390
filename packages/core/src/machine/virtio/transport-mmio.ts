/**
 * Virtio over MMIO (virtio 1.3, 4.2), the modern interface (Version 2): a page of 32-bit registers, the device's configuration behind
 * them, and a level interrupt that stands while InterruptStatus is not zero.
 *
 * Linux does not wait for the end of a reset on this transport, so resets must be over at once: devices copy data instead of lending it.
 */

import { hex } from '../../base/numbers.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize, FaultSink, GuestMemory, InterruptLine, MmioDevice, Placement, TreeNode } from '../device.ts';
import { plicInterrupt, regCells } from '../fdt/tree-values.ts';
import { CommonConfiguration } from './common-configuration.ts';
import { VIRTIO_F } from './features.ts';
import { QUEUE_AREA } from './queue.ts';
import type { QueueAreaWord } from './queue.ts';
import type { VirtioDevice } from './virtio-device.ts';

const MAGIC = 0x7472_6976;
const VERSION = 2;
/** "QEMU", which is what xv6 looks for. */
const VENDOR = 0x554d_4551;
const CONFIGURATION = 0x100;
/** The register that says which queue has something new (4.2.2). */
const QUEUE_NOTIFY = 0x050;
/** What length and base of a shared memory region that does not exist read as. */
const NO_REGION = 0xffff_ffff;

interface Register {
  read?(common: CommonConfiguration): number;
  write?(common: CommonConfiguration, value: number): void;
}

function queueArea(word: QueueAreaWord): Register {
  return { write: (common, value) => common.setQueueArea(word, value) };
}

/** The registers by offset (4.2.2). A register without `read` reads as zero, one without `write` ignores writes. */
const REGISTERS: ReadonlyMap<number, Register> = new Map<number, Register>([
  [0x000, { read: () => MAGIC }],
  [0x004, { read: () => VERSION }],
  [0x008, { read: (common) => common.device.deviceType }],
  [0x00c, { read: () => VENDOR }],
  [0x010, { read: (common) => common.deviceFeatures }],
  [0x014, { write: (common, value) => (common.deviceFeatureSelect = value) }],
  [0x020, { write: (common, value) => (common.driverFeatures = value) }],
  [0x024, { write: (common, value) => (common.driverFeatureSelect = value) }],
  [0x030, { write: (common, value) => (common.queueSelect = value) }],
  [0x034, { read: (common) => common.queueSizeMax }],
  [0x038, { write: (common, value) => (common.queueSize = value) }],
  [
    0x044,
    {
      read: (common) => Number(common.queueEnabled),
      write: (common, value) => ((value & 1) !== 0 ? common.enableQueue() : common.resetQueue()),
    },
  ],
  [QUEUE_NOTIFY, { write: (common, value) => common.notifyQueue(value) }],
  [0x060, { read: (common) => common.interruptStatus }],
  [0x064, { write: (common, value) => common.acknowledgeInterrupt(value) }],
  [0x070, { read: (common) => common.status, write: (common, value) => common.writeStatus(value) }],
  [0x080, queueArea(QUEUE_AREA.descLow)],
  [0x084, queueArea(QUEUE_AREA.descHigh)],
  [0x090, queueArea(QUEUE_AREA.driverLow)],
  [0x094, queueArea(QUEUE_AREA.driverHigh)],
  [0x0a0, queueArea(QUEUE_AREA.deviceLow)],
  [0x0a4, queueArea(QUEUE_AREA.deviceHigh)],
  [0x0b0, { read: () => NO_REGION }],
  [0x0b4, { read: () => NO_REGION }],
  [0x0b8, { read: () => NO_REGION }],
  [0x0bc, { read: () => NO_REGION }],
  [
    0x0c0,
    {
      read: (common) => Number(common.queueResetting),
      write: (common, value) => {
        if (value === 1 && common.accepted(VIRTIO_F.RING_RESET)) common.resetQueue();
      },
    },
  ],
  [0x0fc, { read: (common) => common.generation }],
]);

export interface VirtioMmioParts {
  readonly placement: Placement;
  readonly device: VirtioDevice;
  readonly memory: GuestMemory;
  readonly interrupt: InterruptLine;
  readonly faults: FaultSink;
}

export class VirtioMmio implements MmioDevice {
  readonly name: string;
  readonly #common: CommonConfiguration;

  constructor(parts: VirtioMmioParts) {
    const { device, memory, interrupt, faults } = parts;
    this.name = `${device.kind}@${parts.placement.base.toString(16)}`;
    this.#common = new CommonConfiguration({
      name: this.name,
      device,
      memory,
      faults,
      waitsForReset: false,
      interruptChanged: (status) => interrupt.set(status !== 0),
    });
  }

  isNotice(offset: number): boolean {
    return offset === QUEUE_NOTIFY;
  }

  read(offset: number, size: AccessSize): number {
    if (offset >= CONFIGURATION) return this.#common.readConfiguration(offset - CONFIGURATION, size);
    if (size !== 4) {
      this.#common.complain(`the driver read ${size} bytes of a 4-byte register at ${hex(offset)}`);
      return 0;
    }
    return REGISTERS.get(offset)?.read?.(this.#common) ?? 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset >= CONFIGURATION) this.#common.writeConfiguration(offset - CONFIGURATION, size, value);
    else if (size !== 4) this.#common.complain(`the driver wrote ${size} bytes of a 4-byte register at ${hex(offset)}`);
    else REGISTERS.get(offset)?.write?.(this.#common, value);
  }

  reset(): void {
    this.#common.powerOn();
  }

  quiesce(): Promise<void> {
    return this.#common.quiesce();
  }

  resume(): void {
    this.#common.resume();
  }

  save(): Saved {
    return this.#common.save();
  }

  restore(state: Saved): void {
    this.#common.restore(new SavedReader(state, this.name));
  }
}

const EMPTY_SLOT: ReadonlyMap<number, number> = new Map([
  [0x000, MAGIC],
  [0x004, VERSION],
  [0x00c, VENDOR],
]);

/** A slot without a device: present, and DeviceID 0 tells drivers to leave it alone (4.2.3.1). */
export class EmptyVirtioMmio implements MmioDevice {
  readonly name: string;

  constructor(placement: Placement) {
    this.name = `virtio-empty@${placement.base.toString(16)}`;
  }

  read(offset: number): number {
    return EMPTY_SLOT.get(offset) ?? 0;
  }

  write(): void {}

  reset(): void {}

  save(): Saved {
    return null;
  }

  restore(state: Saved): void {
    if (state !== null) new SavedReader(state, this.name).refuse('holds something, and this slot is empty');
  }
}

/** The node of one slot, empty or not (binding: virtio/mmio); `source` is its interrupt at the PLIC. */
export function virtioMmioNode(placement: Placement, source: number): TreeNode {
  return {
    name: `virtio_mmio@${placement.base.toString(16)}`,
    properties: { compatible: 'virtio,mmio', reg: regCells(placement), ...plicInterrupt(source) },
  };
}
