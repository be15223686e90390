import { expect, test } from 'vitest';
import { GiB, MiB } from '../base/numbers.ts';
import {
  DRAM_BASE,
  IRQ,
  MEMORY_MAP,
  MSWI_PLACEMENT,
  MTIMER_PLACEMENT,
  PCIE_INTX_COUNT,
  PLIC_SOURCES,
  VIRTIO_MMIO_SLOTS,
  dramPlacement,
  highPcieMmioPlacement,
  virtioMmioPlacement,
} from './memory-map.ts';

test('no two regions of the map overlap, and none reaches into RAM', () => {
  const slots = Array.from({ length: VIRTIO_MMIO_SLOTS }, (_, slot) => virtioMmioPlacement(slot));
  const regions = [...Object.values(MEMORY_MAP), ...slots, dramPlacement(512 * MiB)].toSorted(
    (a, b) => a.base - b.base,
  );
  for (const [index, region] of regions.entries()) {
    const next = regions[index + 1];
    if (next !== undefined) expect(region.base + region.sizeBytes).toBeLessThanOrEqual(next.base);
  }
});

test("the map is that of QEMU's virt machine", () => {
  const at = (name: keyof typeof MEMORY_MAP): [number, number] => [MEMORY_MAP[name].base, MEMORY_MAP[name].sizeBytes];
  expect(at('bootRom')).toEqual([0x1000, 0xf000]);
  expect(at('test')).toEqual([0x100000, 0x1000]);
  expect(at('rtc')).toEqual([0x101000, 0x1000]);
  expect(at('clint')).toEqual([0x2000000, 0x10000]);
  expect(at('sswi')).toEqual([0x2f00000, 0x4000]);
  expect(at('pciePio')).toEqual([0x3000000, 0x10000]);
  expect(at('plic')).toEqual([0xc000000, 0x600000]);
  expect(at('uart')).toEqual([0x10000000, 0x100]);
  expect(at('fwCfg')).toEqual([0x10100000, 0x18]);
  expect(at('flash')).toEqual([0x20000000, 0x4000000]);
  expect(at('pcieEcam')).toEqual([0x30000000, 0x10000000]);
  expect(at('pcieMmio')).toEqual([0x40000000, 0x40000000]);
  expect(virtioMmioPlacement(7)).toEqual({ base: 0x10008000, sizeBytes: 0x1000 });
  expect(DRAM_BASE).toBe(0x80000000);
});

test("the CLINT is the ACLINT's software interrupts and timers side by side", () => {
  expect(MSWI_PLACEMENT).toEqual({ base: 0x2000000, sizeBytes: 0x4000 });
  expect(MTIMER_PLACEMENT).toEqual({ base: 0x2004000, sizeBytes: 0x8000 });
});

test('interrupt sources fit the PLIC and do not meet', () => {
  expect(IRQ.virtioFirst + VIRTIO_MMIO_SLOTS).toBeLessThanOrEqual(IRQ.uart);
  expect(IRQ.pcieIntxFirst + PCIE_INTX_COUNT - 1).toBeLessThanOrEqual(PLIC_SOURCES);
});

test('the window for 64-bit BARs lies above RAM, on a multiple of its size', () => {
  expect(highPcieMmioPlacement(512 * MiB).base).toBe(0x4_0000_0000);
  expect(highPcieMmioPlacement(14 * GiB).base).toBe(0x4_0000_0000);
  expect(highPcieMmioPlacement(14 * GiB + 4096).base).toBe(0x8_0000_0000);
});
