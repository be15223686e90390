/**
 * Where everything is: the physical memory map and the interrupt numbers of QEMU's `virt` machine (QEMU documentation, "'virt' Generic
 * Virtual Platform"; addresses as its own device tree gives them). Whatever boots there finds the same things here.
 */

import { GiB, KiB, MiB, alignUp, guestPhysical } from '../base/numbers.ts';
import type { Placement } from './device.ts';

function place(base: number, sizeBytes: number): Placement {
  return { base: guestPhysical(base), sizeBytes };
}

/** Every region whose place does not depend on the configuration. */
export const MEMORY_MAP = {
  /** Mask ROM with the reset vector; harts start at its first byte when firmware is loaded. */
  bootRom: place(0x1000, 60 * KiB),
  test: place(0x10_0000, 4 * KiB),
  rtc: place(0x10_1000, 4 * KiB),
  /** The SiFive CLINT: the ACLINT's machine software interrupts, machine timers and `mtime` side by side. */
  clint: place(0x200_0000, 64 * KiB),
  /** ACLINT supervisor software interrupts; on the machine only when its device tree says so. */
  sswi: place(0x2f0_0000, 16 * KiB),
  pciePio: place(0x300_0000, 64 * KiB),
  platformBus: place(0x400_0000, 32 * MiB),
  /** Room for 1024 contexts, as QEMU has it for 512 harts. */
  plic: place(0xc00_0000, 6 * MiB),
  uart: place(0x1000_0000, 256),
  fwCfg: place(0x1010_0000, 24),
  flash: place(0x2000_0000, 64 * MiB),
  pcieEcam: place(0x3000_0000, 256 * MiB),
  pcieMmio: place(0x4000_0000, 1 * GiB),
} as const satisfies Readonly<Record<string, Placement>>;

/** Parts of the CLINT as the ACLINT names them (ACLINT 1.0-rc4, 1.1). */
export const MSWI_PLACEMENT = place(MEMORY_MAP.clint.base, 16 * KiB);
export const MTIMER_PLACEMENT = place(MEMORY_MAP.clint.base + 16 * KiB, 32 * KiB);

/** First byte of RAM. */
export const DRAM_BASE = guestPhysical(0x8000_0000);

/** Interrupt sources of the PLIC. Source 0 does not exist. */
export const IRQ = {
  /** Slot n of virtio-mmio has source `virtioFirst + n`. */
  virtioFirst: 1,
  uart: 10,
  rtc: 11,
  /** INTA of the PCIe host bridge; INTB to INTD follow. */
  pcieIntxFirst: 32,
} as const;

/** Highest source number of the PLIC. */
export const PLIC_SOURCES = 96;
/** Slots of virtio-mmio, each with a page and an interrupt source of its own. */
export const VIRTIO_MMIO_SLOTS = 8;
/** Pins INTA to INTD. */
export const PCIE_INTX_COUNT = 4;
/** `mtime` counts at this rate, in ticks per second: one tick is 100 ns. */
export const TIMEBASE_HZ = 10_000_000;
export const NS_PER_TICK = 1e9 / TIMEBASE_HZ;

const VIRTIO_MMIO_FIRST = 0x1000_1000;
const VIRTIO_MMIO_STEP = 4 * KiB;
const HIGH_PCIE_MMIO_SIZE = 16 * GiB;

/** Where virtio-mmio slot `slot` (0 to 7) is. */
export function virtioMmioPlacement(slot: number): Placement {
  return place(VIRTIO_MMIO_FIRST + slot * VIRTIO_MMIO_STEP, VIRTIO_MMIO_STEP);
}

/** RAM of `sizeBytes`. */
export function dramPlacement(sizeBytes: number): Placement {
  return place(DRAM_BASE, sizeBytes);
}

/** The window for 64-bit BARs: the first naturally aligned one above RAM. */
export function highPcieMmioPlacement(dramSizeBytes: number): Placement {
  return place(alignUp(DRAM_BASE + dramSizeBytes, HIGH_PCIE_MMIO_SIZE), HIGH_PCIE_MMIO_SIZE);
}
