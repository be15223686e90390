/**
 * The configuration space of one function, header type 0 (PCI Local Bus 3.0, chapter 6): bytes, and for every byte the bits that the
 * guest may write. Sizing a BAR needs no code: its low address bits are simply not writable (6.2.5.1).
 *
 * The interrupt pin is driven from here, because the command register can disable it.
 */

import { assert } from '../../base/assert.ts';
import type { Saved, SavedReader } from '../../base/saved.ts';
import type { AccessSize, InterruptLine } from '../device.ts';

/** A conventional function has this much; the rest of its ECAM page answers as if nobody were there. */
export const CONFIGURATION_BYTES = 256;

/** Offsets in the header (6.1). */
const REGISTER = {
  vendorId: 0x00,
  deviceId: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  cacheLineSize: 0x0c,
  latencyTimer: 0x0d,
  bars: 0x10,
  subsystemVendorId: 0x2c,
  subsystemId: 0x2e,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
} as const;

const COMMAND = {
  ioSpace: 1 << 0,
  memorySpace: 1 << 1,
  busMaster: 1 << 2,
  parity: 1 << 6,
  serr: 1 << 8,
  interruptDisable: 1 << 10,
} as const;
/** A function without bus mastering still reaches memory: a driver that forgets the bit works on QEMU too. */
const COMMAND_WRITABLE =
  COMMAND.ioSpace | COMMAND.memorySpace | COMMAND.busMaster | COMMAND.parity | COMMAND.serr | COMMAND.interruptDisable;
const STATUS_INTERRUPT = 1 << 3;
const STATUS_CAPABILITIES = 1 << 4;

/** Capabilities follow the header. */
const FIRST_CAPABILITY = 0x40;
const CAPABILITY_NEXT = 1;

/** Low bits of a BAR: prefetchable 64-bit memory, as QEMU has it for virtio. */
export const MEMORY_BAR_64 = 0b1100;

export interface MemoryBar {
  /** 0 to 4; the next one holds the upper half. */
  readonly index: number;
  /** A power of two, at least 16. */
  readonly sizeBytes: number;
  readonly kind: typeof MEMORY_BAR_64;
}

export interface Capability {
  /** From its ID on; the link to the next one is filled in. */
  readonly bytes: Uint8Array;
  /** Bits that the guest may write, per byte; none when absent. */
  readonly writable?: Uint8Array;
}

export interface FunctionDescription {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revision: number;
  /** Class, subclass and programming interface, 24 bits. */
  readonly classCode: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
  /** 1 is INTA; 0 is none. */
  readonly interruptPin: number;
  readonly bars: readonly MemoryBar[];
  readonly capabilities: readonly Capability[];
}

/** A BAR where the guest put it. */
export interface MappedBar {
  readonly index: number;
  readonly address: number;
  readonly sizeBytes: number;
}

export class ConfigurationSpace {
  /** Where each capability of the description came to lie. */
  readonly capabilityOffsets: readonly number[];
  readonly interruptPin: number;
  readonly #bars: readonly MemoryBar[];
  readonly #powerOn = new Uint8Array(CONFIGURATION_BYTES);
  readonly #writable = new Uint8Array(CONFIGURATION_BYTES);
  readonly #bytes = new Uint8Array(CONFIGURATION_BYTES);
  #pin: InterruptLine | undefined;

  constructor(description: FunctionDescription) {
    this.#bars = description.bars;
    this.interruptPin = description.interruptPin;
    const bytes = new DataView(this.#powerOn.buffer);
    const writable = new DataView(this.#writable.buffer);
    bytes.setUint16(REGISTER.vendorId, description.vendorId, true);
    bytes.setUint16(REGISTER.deviceId, description.deviceId, true);
    bytes.setUint32(REGISTER.revision, (description.classCode << 8) | description.revision, true);
    bytes.setUint16(REGISTER.subsystemVendorId, description.subsystemVendorId, true);
    bytes.setUint16(REGISTER.subsystemId, description.subsystemId, true);
    bytes.setUint8(REGISTER.interruptPin, description.interruptPin);
    writable.setUint16(REGISTER.command, COMMAND_WRITABLE, true);
    writable.setUint8(REGISTER.cacheLineSize, 0xff);
    writable.setUint8(REGISTER.latencyTimer, 0xff);
    writable.setUint8(REGISTER.interruptLine, 0xff);
    for (const { index, sizeBytes, kind } of description.bars) {
      assert(sizeBytes >= 16 && (sizeBytes & (sizeBytes - 1)) === 0, `a BAR of ${sizeBytes} bytes cannot be`);
      bytes.setUint32(REGISTER.bars + 4 * index, kind, true);
      writable.setUint32(REGISTER.bars + 4 * index, ~(sizeBytes - 1), true);
      writable.setUint32(REGISTER.bars + 4 * index + 4, 0xffff_ffff, true);
    }
    this.capabilityOffsets = this.#layCapabilities(description.capabilities);
    this.#bytes.set(this.#powerOn);
  }

  /** Wires the function's interrupt pin. */
  connect(pin: InterruptLine): void {
    this.#pin = pin;
  }

  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let index = size - 1; index >= 0; index--) value = value * 256 + (this.#bytes[offset + index] ?? 0);
    return value;
  }

  /** Writes what the guest may write. */
  write(offset: number, size: AccessSize, value: number): void {
    for (let index = 0; index < size; index++) {
      const at = offset + index;
      const mask = this.#writable[at] ?? 0;
      this.#bytes[at] = ((this.#bytes[at] ?? 0) & ~mask) | ((value >>> (8 * index)) & mask);
    }
    if (offset <= REGISTER.command + 1 && offset + size > REGISTER.command) this.#drivePin();
  }

  /** Writes for the function itself, without asking what the guest may do. */
  put(offset: number, size: AccessSize, value: number): void {
    for (let index = 0; index < size; index++) this.#bytes[offset + index] = (value >>> (8 * index)) & 0xff;
  }

  /** The function wants an interrupt, or no longer. */
  setInterrupt(level: boolean): void {
    const status = this.read(REGISTER.status, 2);
    this.put(REGISTER.status, 2, level ? status | STATUS_INTERRUPT : status & ~STATUS_INTERRUPT);
    this.#drivePin();
  }

  /** The BARs that answer now: none while the guest has memory space disabled. */
  mappedBars(): MappedBar[] {
    if ((this.read(REGISTER.command, 2) & COMMAND.memorySpace) === 0) return [];
    return this.#bars.map(({ index, sizeBytes }) => {
      const low = this.read(REGISTER.bars + 4 * index, 4);
      const high = this.read(REGISTER.bars + 4 * index + 4, 4);
      return { index, sizeBytes, address: high * 2 ** 32 + (low - (low % 16)) };
    });
  }

  reset(): void {
    this.#bytes.set(this.#powerOn);
    this.#drivePin();
  }

  save(): Saved {
    return this.#bytes.slice();
  }

  /** Checks what `save` gave and returns what takes it over: the bits that the guest may write, and no others. */
  restorer(reader: SavedReader): () => void {
    const saved = reader.bytes(CONFIGURATION_BYTES).slice();
    return () => {
      for (const [index, mask] of this.#writable.entries()) {
        this.#bytes[index] = ((this.#powerOn[index] ?? 0) & ~mask) | ((saved[index] ?? 0) & mask);
      }
      this.#drivePin();
    };
  }

  #drivePin(): void {
    const wanted = (this.read(REGISTER.status, 2) & STATUS_INTERRUPT) !== 0;
    this.#pin?.set(wanted && (this.read(REGISTER.command, 2) & COMMAND.interruptDisable) === 0);
  }

  /** Puts the capabilities one behind the other and links them (6.7). */
  #layCapabilities(capabilities: readonly Capability[]): number[] {
    const offsets: number[] = [];
    let link: number = REGISTER.capabilities;
    let at = FIRST_CAPABILITY;
    for (const { bytes, writable } of capabilities) {
      assert(at + bytes.length <= CONFIGURATION_BYTES, 'the capabilities do not fit into configuration space');
      this.#powerOn.set(bytes, at);
      if (writable !== undefined) this.#writable.set(writable, at);
      this.#powerOn[link] = at;
      link = at + CAPABILITY_NEXT;
      offsets.push(at);
      at += Math.ceil(bytes.length / 4) * 4;
    }
    if (capabilities.length > 0) this.#powerOn[REGISTER.status] = STATUS_CAPABILITIES;
    return offsets;
  }
}
