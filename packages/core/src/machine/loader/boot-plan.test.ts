import { describe, expect, test } from 'vitest';
import { GiB, MiB, guestPhysical } from '../../base/numbers.ts';
import type { GuestMemory } from '../device.ts';
import { MAXIMUM_FDT_BYTES } from '../fdt/format.ts';
import type { InitrdRange } from '../fdt/machine-tree.ts';
import { FakeMemory } from '../testing/doubles.ts';
import { prepareBoot } from './boot-plan.ts';
import type { BootPlan, BootRequest } from './boot-plan.ts';
import { LoadError } from './payload.ts';
import type { LoadErrorCode, Payload } from './payload.ts';
import { initrdAddress, treeAddress, treeFloor } from './placement.ts';
import { buildElf, buildImage, kernel } from './testing/payloads.ts';

const BASE = 0x8000_0000;
const TREE = Uint8Array.from({ length: 3000 }, (_, index) => index & 0xff);

function file(kind: Payload['kind'], length: number): Payload {
  return { kind, name: kind, bytes: new Uint8Array(length).map((_, index) => index * 7) };
}

function ram(sizeBytes: number): { base: ReturnType<typeof guestPhysical>; sizeBytes: number } {
  return { base: guestPhysical(BASE), sizeBytes };
}

interface Booted {
  readonly plan: BootPlan;
  readonly memory: FakeMemory;
  readonly treeWasAsked: (InitrdRange | undefined)[];
  at(address: number, length: number): Uint8Array;
}

function boot(request: Partial<BootRequest>, megabytes = 16): Booted {
  const memory = new FakeMemory(BASE, megabytes * MiB);
  const treeWasAsked: (InitrdRange | undefined)[] = [];
  const tree = (initrd: InitrdRange | undefined): Uint8Array => {
    treeWasAsked.push(initrd);
    return TREE;
  };
  const plan = prepareBoot({ into: { placement: ram(megabytes * MiB), memory }, firmware: 'own', tree, ...request });
  return {
    plan,
    memory,
    treeWasAsked,
    at: (address, length) => memory.bytes.subarray(address - BASE, address - BASE + length),
  };
}

function refusal(request: Partial<BootRequest>, megabytes = 16): { code: LoadErrorCode; message: string } | undefined {
  try {
    boot(request, megabytes);
    return undefined;
  } catch (error) {
    if (error instanceof LoadError) return { code: error.code, message: error.message };
    throw error;
  }
}

describe('placement, as QEMU has it', () => {
  /** Recorded from QEMU 7.2: MiB of memory, and where its device tree was. */
  test.each([
    [64, 0x83e0_0000],
    [128, 0x87e0_0000],
    [200, 0x8c60_0000],
    [512, 0x9fe0_0000],
    [2000, 0xbfe0_0000],
    [5000, 0xbfe0_0000],
  ])('the device tree of a machine with %i MiB', (megabytes, address) => {
    expect(treeAddress(ram(megabytes * MiB), 8000)).toBe(address);
    expect(treeFloor(ram(megabytes * MiB))).toBeLessThanOrEqual(address);
  });

  test('no device tree of any size comes to lie below the floor', () => {
    for (const size of [16 * MiB, 16.5 * MiB, 17 * MiB, 17.5 * MiB, 4 * GiB]) {
      expect(treeAddress(ram(size), MAXIMUM_FDT_BYTES)).toBeGreaterThanOrEqual(treeFloor(ram(size)));
    }
  });

  /** Recorded from QEMU 7.2: MiB of memory, and where its ramdisk was behind a kernel at 0x80200000 (its rule of half the memory). */
  test.each([
    [64, 0x8220_0000],
    [128, 0x8420_0000],
    [200, 0x8660_0000],
  ])('the ramdisk of a machine with %i MiB', (megabytes, address) => {
    const loaded = { start: guestPhysical(0x8020_0000), end: guestPhysical(0x8030_0000) };
    expect(initrdAddress(file('initrd', 3_000_000), loaded, ram(megabytes * MiB))).toBe(address);
  });

  const loaded = { start: guestPhysical(0x8020_0000), end: guestPhysical(0x8030_0001) };
  const initrd = (length: number): Payload => ({ kind: 'initrd', name: 'initrd.img', bytes: { length } as Uint8Array });

  test('the ramdisk of a machine with much memory is 512 MiB behind the kernel', () => {
    expect(initrdAddress(initrd(100), loaded, ram(8 * GiB))).toBe(0xa020_0000);
  });

  test('a ramdisk too large for its half moves down, and a kernel too large for its own moves it up', () => {
    const size = 40 * MiB;
    expect(initrdAddress(initrd(size), loaded, ram(64 * MiB))).toBe(treeFloor(ram(64 * MiB)) - size);
    expect(initrdAddress(initrd(100), { ...loaded, end: guestPhysical(0x8300_0001) }, ram(64 * MiB))).toBe(0x8300_1000);
  });

  test('one that fits nowhere gives the memory that it takes, and with that memory it fits', () => {
    const needed = /at least (\d+) MiB of memory, and this one has 64 MiB/;
    let megabytes = 0;
    try {
      initrdAddress(initrd(70 * MiB), loaded, ram(64 * MiB));
    } catch (error) {
      megabytes = Number(needed.exec((error as LoadError).message)?.[1]);
    }
    expect(megabytes).toBeGreaterThan(73);
    expect(initrdAddress(initrd(70 * MiB), loaded, ram(megabytes * MiB))).toBeGreaterThanOrEqual(0x8030_1000);
    expect(() => initrdAddress(initrd(70 * MiB), loaded, ram((megabytes - 1) * MiB))).toThrow(LoadError);
  });
});

describe('with our own SBI', () => {
  test('a Linux image is started in S-mode, on the first hart, 2 MiB into RAM', () => {
    const image = buildImage();
    const { plan, at } = boot({ kernel: kernel(image) });
    expect(plan).toMatchObject({
      mode: 'S',
      entry: 0x8020_0000,
      harts: 'first',
      a2: 0,
      initrd: undefined,
      bootRom: undefined,
    });
    expect(plan.kernel).toEqual({ start: 0x8020_0000, end: 0x8030_0000, entry: 0x8020_0000, htif: undefined });
    expect(at(0x8020_0000, image.length)).toEqual(image);
  });

  test('the device tree is made for the ramdisk that was placed, and a1 points to it', () => {
    const initrd = file('initrd', 5000);
    const { plan, at, treeWasAsked } = boot({ kernel: kernel(buildImage()), initrd });
    expect(plan.initrd).toEqual({ start: 0x80a0_0000, end: 0x80a0_0000 + 5000 });
    expect(treeWasAsked).toEqual([plan.initrd]);
    expect(at(plan.initrd!.start, 5000)).toEqual(initrd.bytes);
    expect(plan.a1).toBe(0x80e0_0000);
    expect(plan.tree.address).toBe(plan.a1);
    expect(at(plan.a1, TREE.length)).toEqual(TREE);
  });

  test('an ELF kernel is started at its entry', () => {
    const { plan } = boot({
      kernel: kernel(
        buildElf({ segments: [{ physical: 0x8020_0000, content: new Uint8Array(64) }], entry: 0x8020_0010n }),
      ),
    });
    expect(plan).toMatchObject({ mode: 'S', entry: 0x8020_0010, harts: 'first' });
  });

  test('a file that is no kernel is refused, unless flat binaries are allowed', () => {
    const text = kernel(new TextEncoder().encode('# Read me\n'), 'README.md');
    expect(refusal({ kernel: text })).toEqual({
      code: 'not-a-kernel',
      message: 'Cannot load kernel "README.md": it is neither a RISC-V Linux image nor an ELF file.',
    });
    expect(boot({ kernel: text, allowFlatKernel: true }).plan.entry).toBe(0x8020_0000);
  });

  test('no kernel at all is refused', () => {
    expect(refusal({})).toEqual({
      code: 'nothing-to-boot',
      message: 'Cannot boot: there is neither a kernel nor firmware.',
    });
  });
});

describe('with firmware', () => {
  const firmware = file('firmware', 300_000);

  test('a flat firmware is at the start of RAM and starts in M-mode on every hart, as the boot ROM would start it', () => {
    const { plan, at } = boot({ firmware, kernel: file('kernel', 1000) });
    expect(plan).toMatchObject({ mode: 'M', entry: BASE, harts: 'all', a1: 0x80e0_0000, a2: 0x1028 });
    expect(at(BASE, firmware.bytes.length)).toEqual(firmware.bytes);
    const rom = new DataView(plan.bootRom!.buffer);
    expect([rom.getBigUint64(24, true), rom.getBigUint64(32, true)]).toEqual([0x8000_0000n, 0x80e0_0000n]);
  });

  test('the kernel is 2 MiB into RAM, or at the next such step behind the firmware', () => {
    expect(boot({ firmware, kernel: file('kernel', 1000) }).plan.kernel?.entry).toBe(0x8020_0000);
    expect(boot({ firmware: file('firmware', 3 * MiB), kernel: file('kernel', 1000) }).plan.kernel?.entry).toBe(
      0x8040_0000,
    );
    expect(boot({ firmware: file('firmware', 3 * MiB), kernel: kernel(buildImage()) }).plan.kernel?.entry).toBe(
      0x8040_0000,
    );
  });

  test("firmware learns the kernel's entry from fw_dynamic info; without a kernel it is 0", () => {
    const next = ({ plan }: Booted): bigint => new DataView(plan.bootRom!.buffer).getBigUint64(0x38, true);
    expect(next(boot({ firmware, kernel: kernel(buildImage()) }))).toBe(0x8020_0000n);
    expect(next(boot({ firmware }))).toBe(0n);
  });

  test('an ELF firmware starts at its entry, a relocatable one at the start of RAM', () => {
    const at = (physical: number, type: number): Payload => ({
      kind: 'firmware',
      name: 'fw.elf',
      bytes: buildElf({ segments: [{ physical, content: new Uint8Array(64) }], entry: BigInt(physical + 16), type }),
    });
    expect(boot({ firmware: at(0x8008_0000, 2), kernel: file('kernel', 10) }).plan.entry).toBe(0x8008_0010);
    expect(boot({ firmware: at(0, 3), kernel: file('kernel', 10) }).plan.entry).toBe(0x8000_0010);
  });

  test('an ELF kernel that wants to be where the firmware is gets refused', () => {
    const elf = kernel(
      buildElf({ segments: [{ physical: BASE + 0x1000, content: new Uint8Array(64) }], entry: BigInt(BASE + 0x1000) }),
      'bare.elf',
    );
    expect(refusal({ firmware, kernel: elf })).toEqual({
      code: 'overlap',
      message:
        'Cannot load kernel "bare.elf": it wants to be at 0x80001000 to 0x80001040, and the firmware is at 0x80000000 to 0x800493e0.',
    });
  });
});

describe('without firmware', () => {
  test('a flat program is at the start of RAM and starts there in M-mode on every hart', () => {
    const { plan, at } = boot({ firmware: 'none', kernel: file('kernel', 1000) });
    expect(plan).toMatchObject({ mode: 'M', entry: BASE, harts: 'all', a1: 0x80e0_0000 });
    expect(at(BASE, 1000)).toEqual(file('kernel', 1000).bytes);
  });

  const symbols = { tohost: BigInt(BASE + 0x1000), fromhost: BigInt(BASE + 0x1040) };
  const bare = (found: Record<string, bigint>, type = 2): Payload =>
    kernel(
      buildElf({
        segments: [{ physical: type === 3 ? 0 : BASE, content: new Uint8Array(0x2000) }],
        entry: type === 3 ? 0n : BigInt(BASE),
        symbols: found,
        type,
      }),
    );

  test('an ELF program with tohost talks to its host there', () => {
    expect(boot({ firmware: 'none', kernel: bare(symbols) }).plan.kernel?.htif).toEqual({
      tohost: BASE + 0x1000,
      fromhost: BASE + 0x1040,
    });
    expect(boot({ firmware: 'none', kernel: bare({ tohost: symbols.tohost }) }).plan.kernel?.htif).toEqual({
      tohost: BASE + 0x1000,
      fromhost: undefined,
    });
    expect(boot({ firmware: 'none', kernel: bare({ tohost: 0x1000n }, 3) }).plan.kernel?.htif?.tohost).toBe(
      BASE + 0x1000,
    );
    expect(boot({ firmware: 'none', kernel: bare({}) }).plan.kernel?.htif).toBeUndefined();
    expect(boot({ kernel: bare(symbols) }).plan.kernel?.htif).toBeUndefined();
  });

  test('a tohost that is nowhere or not aligned is refused', () => {
    expect(refusal({ firmware: 'none', kernel: bare({ tohost: 0x10n }) })?.code).toBe('malformed');
    expect(refusal({ firmware: 'none', kernel: bare({ tohost: BigInt(BASE + 0x1004) }) })?.code).toBe('malformed');
  });

  test('a Linux image goes where its header says', () => {
    expect(boot({ firmware: 'none', kernel: kernel(buildImage({ textOffset: 0n })) }).plan.entry).toBe(BASE);
  });
});

describe('what does not fit', () => {
  test.each<[string, Partial<BootRequest>]>([
    ['a kernel', { kernel: file('kernel', 5 * MiB), firmware: 'none' }],
    ['a kernel with what it clears for itself', { kernel: kernel(buildImage({ imageSize: BigInt(5 * MiB) })) }],
    ['firmware', { firmware: file('firmware', 5 * MiB), kernel: file('kernel', 1) }],
    ['a ramdisk', { kernel: kernel(buildImage()), initrd: file('initrd', 2 * MiB) }],
    ['a device tree behind a kernel', { kernel: kernel(buildImage({ imageSize: BigInt(1.5 * MiB) })) }],
  ])('%s is refused, with the memory it takes', (_, request) => {
    const { code, message } = refusal(request, 4) ?? {};
    expect(code).toBe('too-little-memory');
    const [, needed] =
      /it needs a machine with at least (\d+) MiB of memory, and this one has 4 MiB\.$/.exec(message ?? '') ?? [];
    expect(Number(needed)).toBeGreaterThan(4);
    expect(Number(needed)).toBeLessThan(13);
  });

  test('empty files are refused', () => {
    expect(refusal({ kernel: file('kernel', 0) })?.message).toBe('Cannot load kernel "kernel": the file is empty.');
    expect(refusal({ firmware: file('firmware', 0), kernel: file('kernel', 1) })?.message).toBe(
      'Cannot load firmware "firmware": the file is empty.',
    );
    expect(refusal({ kernel: kernel(buildImage()), initrd: file('initrd', 0) })?.message).toBe(
      'Cannot load initial ramdisk "initrd": the file is empty.',
    );
  });

  test('memory that is not there although the placement says so is found out', () => {
    const memory: GuestMemory = new FakeMemory(BASE, 4 * MiB);
    const request = { into: { placement: ram(16 * MiB), memory }, kernel: kernel(buildImage()) };
    expect(refusal(request)?.code).toBe('outside-memory');
  });
});
