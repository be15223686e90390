import { describe, expect, test } from 'vitest';
import { MiB, guestPhysical } from '../../base/numbers.ts';
import { SavedStateError } from '../../base/saved.ts';
import { deviceLifecycle } from '../device-lifecycle.suite.ts';
import { MEMORY_MAP, highPcieMmioPlacement } from '../memory-map.ts';
import { CountingEntropy, FakeLine, RecordedFaults } from '../testing/doubles.ts';
import { VirtioRng } from '../virtio/rng.ts';
import { EchoDevice } from '../virtio/testing/echo-device.ts';
import { PciGuest } from '../virtio/testing/guest-transport.ts';
import { ScatteredMemory } from '../virtio/testing/scattered-memory.ts';
import { VirtioPci } from '../virtio/transport-pci.ts';
import { PciHostBridge } from './host-bridge.ts';
import { hostBridgeNode } from './tree.ts';
import { PciWindow } from './window.ts';

const ECAM = { base: guestPhysical(0x3000_0000), sizeBytes: 256 * MiB };
const LOW = MEMORY_MAP.pcieMmio;
const HIGH = highPcieMmioPlacement(512 * MiB);
const SLOTS = [1, 2, 6];

interface Bench {
  readonly bridge: PciHostBridge;
  readonly low: PciWindow;
  readonly high: PciWindow;
  readonly lines: readonly FakeLine[];
  readonly config: (slot: number, offset: number) => number;
  readonly setConfig: (slot: number, offset: number, value: number) => void;
}

/** Three functions: entropy devices in slots 1 and 2, an echo in slot 6 (whose INTA shares a line with slot 2). */
function bench(): Bench {
  const lines = [0, 1, 2, 3].map(() => new FakeLine());
  const bridge = new PciHostBridge(ECAM, lines);
  const memory = new ScatteredMemory(0x8000_0000, 16);
  const faults = new RecordedFaults();
  for (const slot of SLOTS) {
    const device = slot === 6 ? new EchoDevice() : new VirtioRng(new CountingEntropy());
    bridge.plug(slot, new VirtioPci({ slot, device, memory, faults }));
  }
  return {
    bridge,
    low: new PciWindow(LOW, bridge),
    high: new PciWindow(HIGH, bridge),
    lines,
    config: (slot, offset) => bridge.read((slot << 15) + offset, 4),
    setConfig: (slot, offset, value) => bridge.write((slot << 15) + offset, 4, value),
  };
}

describe('configuration space', () => {
  test("shows the bridge and the functions by QEMU's IDs, and all ones where nobody is", () => {
    const { config, bridge } = bench();
    expect(config(0, 0)).toBe(0x0008_1b36);
    expect(config(0, 8)).toBe(0x0600_0000);
    expect(config(1, 0)).toBe(0x1044_1af4);
    expect(config(1, 8)).toBe(0x00ff_0001);
    expect(config(1, 0x2c)).toBe(0x1100_1af4);
    expect(config(6, 0)).toBe(((0x1040 + 42) << 16) | 0x1af4);
    expect([config(3, 0), config(31, 0)]).toEqual([0xffff_ffff, 0xffff_ffff]);
    // Another function of the same device, another bus, extended configuration space.
    expect([1, 2, 4].map((size) => bridge.read((1 << 15) | (1 << 12), size as 1))).toEqual([0xff, 0xffff, 0xffff_ffff]);
    expect(bridge.read((1 << 20) | (1 << 15), 4)).toBe(0xffff_ffff);
    expect(config(1, 0x100)).toBe(0xffff_ffff);
  });

  test('is read and written in every size', () => {
    const { bridge } = bench();
    const at = 1 << 15;
    expect([bridge.read(at, 1), bridge.read(at + 1, 1), bridge.read(at + 2, 2)]).toEqual([0xf4, 0x1a, 0x1044]);
    bridge.write(at + 0x3c, 1, 0x23);
    expect(bridge.read(at + 0x3c, 4)).toBe(0x0000_0123);
  });

  test('lets the guest write what the specification says and nothing else', () => {
    const { config, setConfig } = bench();
    for (let offset = 0; offset < 0x40; offset += 4) setConfig(1, offset, 0xffff_ffff);
    expect(config(1, 0x00)).toBe(0x1044_1af4);
    expect(config(1, 0x04)).toBe(0x0010_0547);
    expect(config(1, 0x08)).toBe(0x00ff_0001);
    expect([0x10, 0x14, 0x18, 0x1c].map((bar) => config(1, bar))).toEqual([0, 0, 0, 0]);
    expect([config(1, 0x20), config(1, 0x24)]).toEqual([0xffff_c00c, 0xffff_ffff]);
    expect([config(1, 0x30), config(1, 0x34)]).toEqual([0, 0x40]);
    expect(config(1, 0x3c)).toBe(0x0000_01ff);
  });

  test('links the virtio capabilities, all in BAR 4', () => {
    const { bridge } = bench();
    const byte = (offset: number): number => bridge.read((1 << 15) + offset, 1);
    const found: number[][] = [];
    for (let at = byte(0x34); at !== 0; at = byte(at + 1))
      found.push([byte(at), byte(at + 3), byte(at + 4), bridge.read((1 << 15) + at + 8, 4)]);
    expect(found).toEqual([
      [9, 1, 4, 0x0000],
      [9, 3, 4, 0x1000],
      [9, 4, 4, 0x2000],
      [9, 2, 4, 0x3000],
      [9, 5, 0, 0],
    ]);
  });
});

describe('a BAR', () => {
  /** The common configuration's num_queues, through a window. */
  const numQueues = (window: PciWindow, offset: number): number => window.read(offset + 0x12, 2);

  test('answers where the guest puts it, in the low window and in the high one', () => {
    const { bridge, low, high } = bench();
    const guest = new PciGuest(bridge, low, LOW.base, 6, 0x10_0000);
    expect(numQueues(low, 0x10_0000)).toBe(2);
    guest.assignBar(HIGH.base + 0x1_0000_0000);
    expect(numQueues(high, 0x1_0000_0000)).toBe(2);
    expect(numQueues(low, 0x10_0000)).toBe(0xffff);
  });

  test('does not answer while memory space is disabled', () => {
    const { bridge, low } = bench();
    const guest = new PciGuest(bridge, low, LOW.base, 6);
    guest.setConfig(0x04, 2, 0);
    expect([low.read(0, 1), low.read(0, 2), low.read(0x12, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
    low.write(0x14, 1, 1);
    guest.setConfig(0x04, 2, 2);
    expect(guest.status()).toBe(0);
  });

  test('that overlaps another leaves the lower slot in charge', () => {
    const { bridge, low } = bench();
    void new PciGuest(bridge, low, LOW.base, 6);
    void new PciGuest(bridge, low, LOW.base, 1);
    expect(numQueues(low, 0)).toBe(1);
  });

  test('ends where it ends', () => {
    const { bridge, low } = bench();
    void new PciGuest(bridge, low, LOW.base, 6);
    expect([low.read(0x3ffc, 4), low.read(0x4000, 4)]).toEqual([0, 0xffff_ffff]);
  });

  test('can be reached through configuration space as well', () => {
    const { bridge, low } = bench();
    const guest = new PciGuest(bridge, low, LOW.base, 6);
    let capability = guest.config(0x34, 1);
    while (guest.config(capability + 3, 1) !== 5) capability = guest.config(capability + 1, 1);
    const select = (bar: number, offset: number, length: number): void => {
      guest.setConfig(capability + 4, 1, bar);
      guest.setConfig(capability + 8, 4, offset);
      guest.setConfig(capability + 12, 4, length);
    };
    guest.setConfig(0x04, 2, 0); // with BARs disabled
    select(4, 0x12, 2);
    expect(guest.config(capability + 16, 4)).toBe(2);
    select(4, 0x14, 1);
    guest.setConfig(capability + 16, 1, 1);
    expect(guest.config(capability + 16, 1)).toBe(1);
    guest.setConfig(0x04, 2, 2);
    expect(guest.status()).toBe(1);
    // What selects nothing reads as zero and takes nothing.
    const nowhere = [
      { bar: 3, offset: 0x14, length: 1 },
      { bar: 4, offset: 0x13, length: 2 },
      { bar: 4, offset: 0x4000, length: 4 },
      { bar: 4, offset: 0x14, length: 3 },
      { bar: 4, offset: 0x14, length: 0 },
    ];
    for (const { bar, offset, length } of nowhere) {
      select(bar, offset, length);
      expect(guest.config(capability + 16, 4)).toBe(0);
      guest.setConfig(capability + 16, 4, 0xff);
    }
    expect(guest.status()).toBe(1);
  });

  test('an address nobody has reads as all ones', () => {
    const { low, high } = bench();
    expect([low.read(0, 1), low.read(0x3fff_fff0, 2), high.read(2 ** 33, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
    high.write(0, 4, 1);
    expect(new PciWindow(MEMORY_MAP.pciePio, undefined).read(0x3f8, 1)).toBe(0xff);
  });
});

describe('interrupts', () => {
  test('are swizzled by slot, shared by level, and shown in the status register', () => {
    const { bridge, low, lines, config, setConfig } = bench();
    const raise = (slot: number): PciGuest => {
      const guest = new PciGuest(bridge, low, LOW.base, slot, slot * 0x10_0000);
      // A ring that cannot be makes a configuration interrupt once the driver is ready.
      guest.setStatus(0xb);
      guest.setStatus(0xf);
      guest.enableQueue(0, { size: 3, descriptors: 0, available: 0, used: 0 });
      return guest;
    };
    const takeInterrupt = (slot: number): number => low.read(slot * 0x10_0000 + 0x1000, 1);
    raise(1);
    expect(lines.map(({ level }) => level)).toEqual([false, true, false, false]);
    raise(2);
    raise(6);
    expect(lines.map(({ level }) => level)).toEqual([false, true, true, false]);
    expect(config(6, 4) >>> 16).toBe(0x18);
    expect(takeInterrupt(2)).toBe(2);
    expect(lines[2]?.level).toBe(true);
    // The command register disables the pin, not the status bit.
    setConfig(6, 4, 0x406);
    expect([lines[2]?.level, config(6, 4)]).toEqual([false, 0x0018_0406]);
    setConfig(6, 4, 6);
    expect(lines[2]?.level).toBe(true);
    expect(takeInterrupt(6)).toBe(2);
    expect(lines[2]?.level).toBe(false);
    expect(config(6, 4) >>> 16).toBe(0x10);
  });
});

deviceLifecycle('the PCI host bridge', {
  make: () => bench().bridge,
  disturb: (bridge) => {
    bridge.write(0x3c, 1, 7);
    for (const slot of SLOTS)
      new PciGuest(bridge, new PciWindow(LOW, bridge), LOW.base, slot, slot * 0x10_0000).setStatus(slot);
  },
  observe: (bridge) => SLOTS.map((slot) => bridge.readMemory(LOW.base + slot * 0x10_0000 + 0x14, 1)),
});

deviceLifecycle('a PCI window', {
  make: () =>
    new PciHostBridge(
      ECAM,
      [0, 1, 2, 3].map(() => new FakeLine()),
    ),
  disturb: (bridge) => bridge.write(0x3c, 1, 1),
});

test('a restore that fails late leaves the functions before as they were', () => {
  const { bridge } = bench();
  const saved = bridge.save() as { readonly functions: readonly { readonly name: string; readonly state: object }[] };
  new PciGuest(bridge, new PciWindow(LOW, bridge), LOW.base, 1).setStatus(3);
  const before = bridge.save();
  const broken = { ...saved, functions: saved.functions.with(2, { name: 'virtio-echo@6,0', state: {} }) };
  expect(() => bridge.restore(broken as never)).toThrow(SavedStateError);
  expect(bridge.save()).toEqual(before);
});

test('a saved state of other devices in the slots is refused', () => {
  const { bridge } = bench();
  const saved = bridge.save() as { readonly functions: readonly { readonly name: string }[] };
  const other = { ...saved, functions: saved.functions.with(0, { ...saved.functions[0], name: 'virtio-rng@9,0' }) };
  expect(() => bridge.restore(other as never)).toThrow('is not virtio-rng@1,0, which is plugged there');
});

test('in the device tree it is what QEMU writes', () => {
  const { pcieEcam, pciePio, pcieMmio } = MEMORY_MAP;
  const node = hostBridgeNode({ ecam: pcieEcam, io: pciePio, memory32: pcieMmio, memory64: HIGH, firstSource: 32 });
  expect(node.name).toBe('pci@30000000');
  const io = [0x0100_0000, 0, 0, 0, 0x0300_0000, 0, 0x1_0000];
  const low = [0x0200_0000, 0, 0x4000_0000, 0, 0x4000_0000, 0, 0x4000_0000];
  const high = [0x0300_0000, 4, 0, 4, 0, 4, 0];
  expect(node.properties['ranges']).toEqual([io, low, high].flat());
  const plic = { phandleOf: 'plic' };
  const map = node.properties['interrupt-map'] as readonly unknown[];
  expect(map).toHaveLength(16 * 6);
  expect(map.slice(0, 12)).toEqual([0, 0, 0, 1, plic, 32, 0, 0, 0, 2, plic, 33]);
  expect(map.slice(6 * 6, 6 * 8)).toEqual([0x800, 0, 0, 3, plic, 35, 0x800, 0, 0, 4, plic, 32]);
  expect(node.properties['interrupt-map-mask']).toEqual([0x1800, 0, 0, 7]);
});
