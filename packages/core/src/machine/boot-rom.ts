/**
 * The boot ROM at 0x1000, byte for byte what QEMU's `virt` machine has there: the reset vector, and behind it what OpenSBI's dynamic
 * firmware reads to learn where to go next (OpenSBI, docs/firmware/fw_dynamic.md).
 *
 *     0x1000  reset vector   a0 = hart id, a1 = device tree, a2 = fw_dynamic info, jump to the firmware
 *     0x1018  .dword firmware, .dword device tree
 *     0x1028  fw_dynamic info
 */

import { SavedReader } from '../base/saved.ts';
import type { Saved } from '../base/saved.ts';
import { assert } from '../base/assert.ts';
import type { AccessSize, MmioDevice } from './device.ts';
import { MEMORY_MAP } from './memory-map.ts';

/** The reset vector (RV64), as encoded instructions. */
const RESET_VECTOR = [
  0x0000_0297, // auipc t0, 0
  0x0282_8613, // addi  a2, t0, 40      fw_dynamic info
  0xf140_2573, // csrr  a0, mhartid
  0x0202_b583, // ld    a1, 32(t0)      device tree
  0x0182_b283, // ld    t0, 24(t0)      firmware
  0x0002_8067, // jr    t0
];
const FIRMWARE = 24;
const TREE = 32;
const DYNAMIC_INFO = 40;

/** fw_dynamic info, version 2: six 64-bit fields. */
const DYNAMIC_MAGIC = 0x4942_534fn; // "OSBI"
const DYNAMIC_VERSION = 2n;
const NEXT_MODE_SUPERVISOR = 1n;
const DYNAMIC_OPTIONS = 0n;
const BOOT_HART = 0n;

/** Where the reset vector leaves a2 pointing. */
export const DYNAMIC_INFO_ADDRESS = MEMORY_MAP.bootRom.base + DYNAMIC_INFO;

export interface BootRomInput {
  /** Where the firmware starts. */
  readonly firmware: number;
  readonly tree: number;
  /** Where the firmware goes on, in S-mode; 0 when there is nothing. */
  readonly next: number;
}

/** The ROM's content; what follows it reads as zero. */
export function bootRomImage({ firmware, tree, next }: BootRomInput): Uint8Array {
  const info = [DYNAMIC_MAGIC, DYNAMIC_VERSION, BigInt(next), NEXT_MODE_SUPERVISOR, DYNAMIC_OPTIONS, BOOT_HART];
  const bytes = new Uint8Array(DYNAMIC_INFO + info.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, instruction] of RESET_VECTOR.entries()) view.setUint32(index * 4, instruction, true);
  view.setBigUint64(FIRMWARE, BigInt(firmware), true);
  view.setBigUint64(TREE, BigInt(tree), true);
  for (const [index, value] of info.entries()) view.setBigUint64(DYNAMIC_INFO + index * 8, value, true);
  return bytes;
}

/** The ROM as a device, for loads. Its content is set when a machine boots; a guest cannot write it. */
export class BootRom implements MmioDevice {
  readonly name = `rom@${MEMORY_MAP.bootRom.base.toString(16)}`;
  #bytes = new Uint8Array(0);

  /** Replaces the content. */
  load(image: Uint8Array): void {
    assert(
      image.length <= MEMORY_MAP.bootRom.sizeBytes,
      `the boot ROM has ${MEMORY_MAP.bootRom.sizeBytes} bytes, and the image ${image.length}`,
    );
    this.#bytes = image.slice();
  }

  /** Empties it; booting loads it again. */
  reset(): void {
    this.#bytes = new Uint8Array(0);
  }

  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let index = size - 1; index >= 0; index--) value = value * 256 + (this.#bytes[offset + index] ?? 0);
    return value;
  }

  write(): void {}

  save(): Saved {
    return { content: this.#bytes.slice() };
  }

  restore(state: Saved): void {
    const content = new SavedReader(state, this.name).field('content');
    const bytes = content.bytes();
    if (bytes.length > MEMORY_MAP.bootRom.sizeBytes)
      content.refuse(`has more than ${MEMORY_MAP.bootRom.sizeBytes} bytes`);
    this.#bytes = bytes.slice();
  }
}
