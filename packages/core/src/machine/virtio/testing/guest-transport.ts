/**
 * How a driver reaches a device over each transport, for tests: the same small interface over the registers of virtio-mmio and over a
 * PCI host bridge, where the driver finds the function, assigns its BAR and walks its capabilities as an operating system does.
 */

import type { AccessSize, MmioDevice } from '../../device.ts';

export interface QueueAddresses {
  readonly size: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

export interface GuestTransport {
  status(): number;
  setStatus(status: number): void;
  deviceFeatures(word: number): number;
  setDriverFeatures(word: number, bits: number): void;
  queueSizeMax(queue: number): number;
  /** Writes the registers of a queue and enables it. */
  enableQueue(queue: number, addresses: QueueAddresses): void;
  queueEnabled(queue: number): boolean;
  resetQueue(queue: number): void;
  queueResetting(queue: number): boolean;
  notify(queue: number): void;
  /** Reads and acknowledges the interrupt status. */
  takeInterrupt(): number;
  generation(): number;
  readConfiguration(offset: number, size: AccessSize): number;
  writeConfiguration(offset: number, size: AccessSize, value: number): void;
}

function halves(address: number): [number, number] {
  return [address % 2 ** 32, Math.floor(address / 2 ** 32)];
}

export class MmioGuest implements GuestTransport {
  readonly #device: MmioDevice;

  constructor(device: MmioDevice) {
    this.#device = device;
  }

  status(): number {
    return this.#device.read(0x070, 4);
  }

  setStatus(status: number): void {
    this.#device.write(0x070, 4, status);
  }

  deviceFeatures(word: number): number {
    this.#device.write(0x014, 4, word);
    return this.#device.read(0x010, 4);
  }

  setDriverFeatures(word: number, bits: number): void {
    this.#device.write(0x024, 4, word);
    this.#device.write(0x020, 4, bits);
  }

  queueSizeMax(queue: number): number {
    this.#device.write(0x030, 4, queue);
    return this.#device.read(0x034, 4);
  }

  enableQueue(queue: number, { size, descriptors, available, used }: QueueAddresses): void {
    this.#device.write(0x030, 4, queue);
    this.#device.write(0x038, 4, size);
    for (const [offset, address] of [
      [0x080, descriptors],
      [0x090, available],
      [0x0a0, used],
    ] as const) {
      const [low, high] = halves(address);
      this.#device.write(offset, 4, low);
      this.#device.write(offset + 4, 4, high);
    }
    this.#device.write(0x044, 4, 1);
  }

  queueEnabled(queue: number): boolean {
    this.#device.write(0x030, 4, queue);
    return this.#device.read(0x044, 4) === 1;
  }

  resetQueue(queue: number): void {
    this.#device.write(0x030, 4, queue);
    this.#device.write(0x0c0, 4, 1);
  }

  queueResetting(queue: number): boolean {
    this.#device.write(0x030, 4, queue);
    return this.#device.read(0x0c0, 4) === 1;
  }

  notify(queue: number): void {
    this.#device.write(0x050, 4, queue);
  }

  takeInterrupt(): number {
    const status = this.#device.read(0x060, 4);
    this.#device.write(0x064, 4, status);
    return status;
  }

  generation(): number {
    return this.#device.read(0x0fc, 4);
  }

  readConfiguration(offset: number, size: AccessSize): number {
    return this.#device.read(0x100 + offset, size);
  }

  writeConfiguration(offset: number, size: AccessSize, value: number): void {
    this.#device.write(0x100 + offset, size, value);
  }
}

export class PciGuest implements GuestTransport {
  readonly #ecam: MmioDevice;
  readonly #window: MmioDevice;
  readonly #configuration: number;
  /** Where the BAR is in the window. */
  readonly #bar: number;
  #common = 0;
  #isr = 0;
  #deviceConfiguration = 0;
  #notify = 0;
  #notifyMultiplier = 0;

  /** Assigns the function's BAR to `offset` within the window, which is at `windowBase`. */
  constructor(ecam: MmioDevice, window: MmioDevice, windowBase: number, slot: number, offset = 0) {
    this.#ecam = ecam;
    this.#window = window;
    this.#configuration = slot << 15;
    this.#bar = offset;
    this.assignBar(windowBase + offset);
    this.#findStructures();
  }

  /** Reads configuration space. */
  config(offset: number, size: AccessSize): number {
    return this.#ecam.read(this.#configuration + offset, size);
  }

  setConfig(offset: number, size: AccessSize, value: number): void {
    this.#ecam.write(this.#configuration + offset, size, value);
  }

  /** Sizes every BAR, assigns the memory BAR and enables memory space and bus mastering. */
  assignBar(address: number): void {
    this.setConfig(0x04, 2, 0);
    for (let bar = 0; bar < 6; bar++) {
      const at = 0x10 + 4 * bar;
      this.setConfig(at, 4, 0xffff_ffff);
      const mask = this.config(at, 4);
      if (mask === 0) continue;
      const [low, high] = halves(address);
      this.setConfig(at, 4, low);
      this.setConfig(at + 4, 4, high);
      bar++;
    }
    this.setConfig(0x04, 2, 0b110);
  }

  #findStructures(): void {
    for (let at = this.config(0x34, 1); at !== 0; at = this.config(at + 1, 1)) {
      if (this.config(at, 1) !== 0x09) continue;
      const offset = this.#bar + this.config(at + 8, 4);
      switch (this.config(at + 3, 1)) {
        case 1:
          this.#common = offset;
          break;
        case 2:
          this.#notify = offset;
          this.#notifyMultiplier = this.config(at + 16, 4);
          break;
        case 3:
          this.#isr = offset;
          break;
        case 4:
          this.#deviceConfiguration = offset;
          break;
        default:
      }
    }
  }

  #read(offset: number, size: AccessSize): number {
    return this.#window.read(this.#common + offset, size);
  }

  #write(offset: number, size: AccessSize, value: number): void {
    this.#window.write(this.#common + offset, size, value);
  }

  status(): number {
    return this.#read(0x14, 1);
  }

  setStatus(status: number): void {
    this.#write(0x14, 1, status);
  }

  deviceFeatures(word: number): number {
    this.#write(0x00, 4, word);
    return this.#read(0x04, 4);
  }

  setDriverFeatures(word: number, bits: number): void {
    this.#write(0x08, 4, word);
    this.#write(0x0c, 4, bits);
  }

  queueSizeMax(queue: number): number {
    this.#write(0x16, 2, queue);
    return this.#read(0x18, 2);
  }

  enableQueue(queue: number, { size, descriptors, available, used }: QueueAddresses): void {
    this.#write(0x16, 2, queue);
    this.#write(0x18, 2, size);
    for (const [offset, address] of [
      [0x20, descriptors],
      [0x28, available],
      [0x30, used],
    ] as const) {
      const [low, high] = halves(address);
      this.#write(offset, 4, low);
      this.#write(offset + 4, 4, high);
    }
    this.#write(0x1c, 2, 1);
  }

  queueEnabled(queue: number): boolean {
    this.#write(0x16, 2, queue);
    return this.#read(0x1c, 2) === 1;
  }

  resetQueue(queue: number): void {
    this.#write(0x16, 2, queue);
    this.#write(0x3a, 2, 1);
  }

  queueResetting(queue: number): boolean {
    this.#write(0x16, 2, queue);
    return this.#read(0x3a, 2) === 1;
  }

  notify(queue: number): void {
    this.#write(0x16, 2, queue);
    const place = this.#read(0x1e, 2) * this.#notifyMultiplier;
    this.#window.write(this.#notify + place, 2, queue);
  }

  takeInterrupt(): number {
    return this.#window.read(this.#isr, 1);
  }

  generation(): number {
    return this.#read(0x15, 1);
  }

  readConfiguration(offset: number, size: AccessSize): number {
    return this.#window.read(this.#deviceConfiguration + offset, size);
  }

  writeConfiguration(offset: number, size: AccessSize, value: number): void {
    this.#window.write(this.#deviceConfiguration + offset, size, value);
  }
}
