import { expect, test } from 'vitest';
import { MiB } from '../../base/numbers.ts';
import { clintNode } from '../aclint.ts';
import { goldfishRtcNode } from '../goldfish-rtc.ts';
import { IRQ, MEMORY_MAP, dramPlacement } from '../memory-map.ts';
import { plicNode } from '../plic.ts';
import { sifiveTestNode } from '../sifive-test.ts';
import { CountingEntropy } from '../testing/doubles.ts';
import { uartNode } from '../uart16550.ts';
import { isaString, machineTree } from './machine-tree.ts';
import type { MachineTreeInput } from './machine-tree.ts';
import { asCells, asStrings, nodeAt, readTree } from './read.ts';
import type { FdtNode } from './read.ts';
import { flattenTree } from './write.ts';

const HARTS = 2;

function treeOf(changes: Partial<MachineTreeInput> = {}): FdtNode {
  const input: MachineTreeInput = {
    harts: HARTS,
    memory: dramPlacement(512 * MiB),
    extensions: ['i', 'm', 'a', 'f', 'd', 'c', 'zicbom', 'zicboz', 'zicsr', 'zba'],
    mmuType: 'riscv,sv57',
    soc: [
      sifiveTestNode(MEMORY_MAP.test),
      goldfishRtcNode(MEMORY_MAP.rtc, IRQ.rtc),
      clintNode(MEMORY_MAP.clint, HARTS),
      plicNode(MEMORY_MAP.plic, HARTS),
      uartNode(MEMORY_MAP.uart, IRQ.uart),
    ],
    entropy: new CountingEntropy(),
    ...changes,
  };
  return readTree(flattenTree(machineTree(input))).root;
}

/** A value of QEMU's tree: strings, cells (a path for a phandle to the node there), or true for an empty property. */
type Fact = readonly [path: string, property: string, value: true | string | readonly (number | string)[]];

const cpuFacts = (hart: number): Fact[] => [
  [`/cpus/cpu@${hart}`, 'device_type', 'cpu'],
  [`/cpus/cpu@${hart}`, 'reg', [hart]],
  [`/cpus/cpu@${hart}`, 'status', 'okay'],
  [`/cpus/cpu@${hart}`, 'compatible', 'riscv'],
  [`/cpus/cpu@${hart}/interrupt-controller`, '#interrupt-cells', [1]],
  [`/cpus/cpu@${hart}/interrupt-controller`, 'interrupt-controller', true],
  [`/cpus/cpu@${hart}/interrupt-controller`, 'compatible', 'riscv,cpu-intc'],
  [`/cpus/cpu-map/cluster0/core${hart}`, 'cpu', [`/cpus/cpu@${hart}`]],
];
const INTC0 = '/cpus/cpu@0/interrupt-controller';
const INTC1 = '/cpus/cpu@1/interrupt-controller';
const PLIC = '/soc/plic@c000000';

/** What QEMU 7.2 says of its `virt` machine with two harts and 512 MiB, recorded from `-machine virt,dumpdtb=FILE`. */
const QEMU_FACTS: Fact[] = [
  ['/', '#address-cells', [2]],
  ['/', '#size-cells', [2]],
  ['/', 'compatible', 'riscv-virtio'],
  ['/', 'model', 'riscv-virtio,qemu'],
  ['/chosen', 'stdout-path', '/soc/serial@10000000'],
  ['/poweroff', 'compatible', 'syscon-poweroff'],
  ['/poweroff', 'value', [0x5555]],
  ['/poweroff', 'offset', [0]],
  ['/poweroff', 'regmap', ['/soc/test@100000']],
  ['/reboot', 'compatible', 'syscon-reboot'],
  ['/reboot', 'value', [0x7777]],
  ['/reboot', 'offset', [0]],
  ['/reboot', 'regmap', ['/soc/test@100000']],
  ['/memory@80000000', 'device_type', 'memory'],
  ['/memory@80000000', 'reg', [0, 0x8000_0000, 0, 0x2000_0000]],
  ['/cpus', '#address-cells', [1]],
  ['/cpus', '#size-cells', [0]],
  ['/cpus', 'timebase-frequency', [10_000_000]],
  ...cpuFacts(0),
  ...cpuFacts(1),
  ['/soc', '#address-cells', [2]],
  ['/soc', '#size-cells', [2]],
  ['/soc', 'compatible', 'simple-bus'],
  ['/soc', 'ranges', true],
  ['/soc/rtc@101000', 'interrupts', [11]],
  ['/soc/rtc@101000', 'interrupt-parent', [PLIC]],
  ['/soc/rtc@101000', 'reg', [0, 0x101000, 0, 0x1000]],
  ['/soc/rtc@101000', 'compatible', 'google,goldfish-rtc'],
  ['/soc/serial@10000000', 'interrupts', [10]],
  ['/soc/serial@10000000', 'interrupt-parent', [PLIC]],
  ['/soc/serial@10000000', 'clock-frequency', [3_686_400]],
  ['/soc/serial@10000000', 'reg', [0, 0x10000000, 0, 0x100]],
  ['/soc/serial@10000000', 'compatible', 'ns16550a'],
  ['/soc/test@100000', 'reg', [0, 0x100000, 0, 0x1000]],
  ['/soc/test@100000', 'compatible', 'sifive,test1\0sifive,test0\0syscon'],
  [PLIC, 'riscv,ndev', [96]],
  [PLIC, 'reg', [0, 0xc000000, 0, 0x600000]],
  [PLIC, 'interrupts-extended', [INTC0, 11, INTC0, 9, INTC1, 11, INTC1, 9]],
  [PLIC, 'interrupt-controller', true],
  [PLIC, 'compatible', 'sifive,plic-1.0.0\0riscv,plic0'],
  [PLIC, '#address-cells', [0]],
  [PLIC, '#interrupt-cells', [1]],
  ['/soc/clint@2000000', 'interrupts-extended', [INTC0, 3, INTC0, 7, INTC1, 3, INTC1, 7]],
  ['/soc/clint@2000000', 'reg', [0, 0x2000000, 0, 0x10000]],
  ['/soc/clint@2000000', 'compatible', 'sifive,clint0\0riscv,clint0'],
];

function property(root: FdtNode, path: string, name: string): Uint8Array {
  const value = nodeAt(root, path)?.properties.get(name);
  if (value === undefined) throw new Error(`there is no ${path}:${name}`);
  return value;
}

test.each(QEMU_FACTS)('as on QEMU: %s %s', (path, name, expected) => {
  const root = treeOf();
  const value = property(root, path, name);
  if (expected === true) expect(value.length).toBe(0);
  else if (typeof expected === 'string') expect(asStrings(value).join('\0')).toBe(expected);
  else
    expect(asCells(value)).toEqual(
      expected.map((cell) => (typeof cell === 'number' ? cell : asCells(property(root, cell, 'phandle'))[0])),
    );
});

test('harts say what they can do in the older and in the newer way', () => {
  const root = treeOf();
  expect(asStrings(property(root, '/cpus/cpu@1', 'riscv,isa'))).toEqual(['rv64imafdc_zicbom_zicboz_zicsr_zba']);
  expect(asStrings(property(root, '/cpus/cpu@1', 'riscv,isa-base'))).toEqual(['rv64i']);
  expect(asStrings(property(root, '/cpus/cpu@1', 'riscv,isa-extensions'))).toEqual([
    'i',
    'm',
    'a',
    'f',
    'd',
    'c',
    'zicbom',
    'zicboz',
    'zicsr',
    'zba',
  ]);
  expect(asStrings(property(root, '/cpus/cpu@1', 'mmu-type'))).toEqual(['riscv,sv57']);
  expect(asCells(property(root, '/cpus/cpu@1', 'riscv,cbom-block-size'))).toEqual([64]);
  expect(asCells(property(root, '/cpus/cpu@1', 'riscv,cboz-block-size'))).toEqual([64]);
  expect(isaString(['i'])).toBe('rv64i');
});

test('cache block sizes are only given with the instructions that need them', () => {
  expect(
    [...nodeAt(treeOf({ extensions: ['i'] }), '/cpus/cpu@0')!.properties.keys()].filter((name) =>
      name.includes('block'),
    ),
  ).toEqual([]);
});

test('the console is also serial0', () => {
  expect(asStrings(property(treeOf(), '/aliases', 'serial0'))).toEqual(['/soc/serial@10000000']);
});

test('the kernel is given randomness that no two machines share', () => {
  const root = treeOf();
  expect(property(root, '/chosen', 'rng-seed').length).toBe(32);
  expect(property(root, '/chosen', 'kaslr-seed').length).toBe(8);
  expect(property(root, '/chosen', 'kaslr-seed')).not.toEqual(property(root, '/chosen', 'rng-seed').subarray(0, 8));
});

test('a command line and an initial ramdisk are named when they are there', () => {
  expect([...nodeAt(treeOf(), '/chosen')!.properties.keys()]).toEqual(['stdout-path', 'rng-seed', 'kaslr-seed']);
  const root = treeOf({ bootArgs: 'console=ttyS0 quiet', initrd: { start: 0x1_8800_0000, end: 0x1_8800_1234 } });
  expect(asStrings(property(root, '/chosen', 'bootargs'))).toEqual(['console=ttyS0 quiet']);
  expect(asCells(property(root, '/chosen', 'linux,initrd-start'))).toEqual([1, 0x8800_0000]);
  expect(asCells(property(root, '/chosen', 'linux,initrd-end'))).toEqual([1, 0x8800_1234]);
});

test('without a test device there is no poweroff to write to', () => {
  const root = treeOf({ soc: [] });
  expect(root.children.map((child) => child.name)).toEqual(['aliases', 'chosen', 'memory@80000000', 'cpus', 'soc']);
});
