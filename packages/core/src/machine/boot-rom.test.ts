import { describe, expect, test } from 'vitest';
import { AssertionFailure } from '../base/assert.ts';
import { BootRom, DYNAMIC_INFO_ADDRESS, bootRomImage } from './boot-rom.ts';
import { Bus } from './bus.ts';
import { deviceLifecycle } from './device-lifecycle.suite.ts';
import { MEMORY_MAP } from './memory-map.ts';

/** The words at 0x1000 of QEMU 7.2 with 512 MiB, its default firmware and a kernel at 0x80200000 (`xp /20wx 0x1000`). */
const QEMU_WORDS = [
  0x00000297, 0x02828613, 0xf1402573, 0x0202b583, 0x0182b283, 0x00028067, 0x80000000, 0x00000000, 0x9fe00000,
  0x00000000, 0x4942534f, 0x00000000, 0x00000002, 0x00000000, 0x80200000, 0x00000000, 0x00000001, 0x00000000,
  0x00000000, 0x00000000,
];

const IMAGE = bootRomImage({ firmware: 0x8000_0000, tree: 0x9fe0_0000, next: 0x8020_0000 });

describe('the boot ROM', () => {
  test('has what QEMU has there', () => {
    const view = new DataView(IMAGE.buffer);
    expect(QEMU_WORDS.map((_, index) => view.getUint32(index * 4, true))).toEqual(QEMU_WORDS);
    expect(IMAGE.length).toBe(DYNAMIC_INFO_ADDRESS - 0x1000 + 48);
  });

  test('addresses above 4 GiB take both halves', () => {
    const view = new DataView(bootRomImage({ firmware: 0x8000_0000, tree: 0x2_0000_0000, next: 0x1_8020_0000 }).buffer);
    expect([view.getUint32(32, true), view.getUint32(36, true)]).toEqual([0, 2]);
    expect([view.getUint32(56, true), view.getUint32(60, true)]).toEqual([0x8020_0000, 1]);
  });

  test('is read by loads of any size, and cannot be written', () => {
    const rom = new BootRom();
    rom.load(IMAGE);
    const bus = new Bus();
    bus.map(MEMORY_MAP.bootRom, rom);
    expect(bus.store(0x1000, 4, 0, 0)).toBe(true);
    expect(bus.load(DYNAMIC_INFO_ADDRESS, 8)).toBe(true);
    expect([bus.low, bus.high]).toEqual([0x4942534f, 0]);
    expect(bus.load(0x1000, 1)).toBe(true);
    expect(bus.low).toBe(0x97);
    expect(bus.load(0x1004, 4)).toBe(true);
    expect(bus.low).toBe(0x02828613);
    expect(bus.load(0xfffc, 4)).toBe(true);
    expect(bus.low).toBe(0);
  });

  test('keeps its own copy, and takes no more than fits', () => {
    const rom = new BootRom();
    const image = Uint8Array.of(1, 2, 3);
    rom.load(image);
    image[0] = 9;
    expect(rom.read(0, 2)).toBe(0x201);
    expect(() => rom.load(new Uint8Array(0xf001))).toThrow(AssertionFailure);
  });
});

deviceLifecycle('the boot ROM', {
  make: () => new BootRom(),
  disturb: (rom) => rom.load(IMAGE),
  observe: (rom) => [0, 4, 40].map((offset) => rom.read(offset, 4)),
  contradictions: { 'more than fits': () => ({ content: new Uint8Array(0xf001) }) },
});
