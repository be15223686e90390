/**
 * The device tree of a whole machine: harts, memory, what the kernel is told (`chosen`), and the devices, each of which brings its own
 * node (Devicetree Specification v0.4, chapter 3; bindings riscv/cpus and riscv/extensions of Linux). Names and shapes are those of
 * QEMU's `virt` machine, so that firmware and kernels made for it find everything where they look.
 */

import type { Entropy } from '../../base/ports.ts';
import type { Placement, TreeNode, TreeValue } from '../device.ts';
import { MEMORY_MAP, TIMEBASE_HZ } from '../memory-map.ts';
import { TEST, hartInterruptController, regCells } from './tree-values.ts';

/** Bytes of a cache block, for Zicbom and Zicboz. */
export const CACHE_BLOCK_BYTES = 64;
/** Bytes of randomness for the kernel's generator, as QEMU gives them. */
export const RNG_SEED_BYTES = 32;
const KASLR_SEED_BYTES = 8;

export interface InitrdRange {
  readonly start: number;
  /** First address behind it. */
  readonly end: number;
}

export interface MachineTreeInput {
  readonly harts: number;
  readonly memory: Placement;
  /** What the harts can do, in the order of the ISA naming rules: `['i', 'm', 'a', 'f', 'd', 'c', 'zicsr', ...]`. */
  readonly extensions: readonly string[];
  /** The largest address translation mode that works. */
  readonly mmuType: 'riscv,sv39' | 'riscv,sv48' | 'riscv,sv57';
  /** Nodes of the devices on the SoC's bus. */
  readonly soc: readonly TreeNode[];
  /** Path of the console's node. */
  readonly stdoutPath?: string;
  readonly bootArgs?: string;
  readonly initrd?: InitrdRange;
  readonly entropy: Entropy;
}

const DEFAULT_STDOUT = `/soc/serial@${MEMORY_MAP.uart.base.toString(16)}`;

/** The tree, ready for `flattenTree`. */
export function machineTree(input: MachineTreeInput): TreeNode {
  return {
    name: '',
    properties: { '#address-cells': 2, '#size-cells': 2, compatible: 'riscv-virtio', model: 'riscv-virtio,qemu' },
    children: [
      { name: 'aliases', properties: { serial0: input.stdoutPath ?? DEFAULT_STDOUT } },
      chosenNode(input),
      memoryNode(input.memory),
      cpusNode(input),
      ...(input.soc.some((node) => node.label === TEST.phandleOf)
        ? [syscon('poweroff', 0x5555), syscon('reboot', 0x7777)]
        : []),
      {
        name: 'soc',
        properties: { '#address-cells': 2, '#size-cells': 2, compatible: 'simple-bus', ranges: true },
        children: input.soc,
      },
    ],
  };
}

/** 3.6: the kernel's command line, console, initial ramdisk and seeds. */
function chosenNode({ stdoutPath, bootArgs, initrd, entropy }: MachineTreeInput): TreeNode {
  const properties: Record<string, TreeValue> = {
    'stdout-path': stdoutPath ?? DEFAULT_STDOUT,
    'rng-seed': seed(entropy, RNG_SEED_BYTES),
    'kaslr-seed': seed(entropy, KASLR_SEED_BYTES),
  };
  if (bootArgs !== undefined) properties['bootargs'] = bootArgs;
  if (initrd !== undefined) {
    properties['linux,initrd-start'] = BigInt(initrd.start);
    properties['linux,initrd-end'] = BigInt(initrd.end);
  }
  return { name: 'chosen', properties };
}

function seed(entropy: Entropy, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  // oxlint-disable-next-line unicorn/no-array-fill-with-reference-type -- a port, not an array
  entropy.fill(bytes);
  return bytes;
}

function memoryNode(memory: Placement): TreeNode {
  return { name: `memory@${memory.base.toString(16)}`, properties: { device_type: 'memory', reg: regCells(memory) } };
}

/** 3.7 and 3.8: the harts, and that they are all of one cluster. */
function cpusNode(input: MachineTreeInput): TreeNode {
  const harts = Array.from({ length: input.harts }, (_, hart) => hart);
  return {
    name: 'cpus',
    properties: { '#address-cells': 1, '#size-cells': 0, 'timebase-frequency': TIMEBASE_HZ },
    children: [
      ...harts.map((hart) => cpuNode(hart, input)),
      {
        name: 'cpu-map',
        properties: {},
        children: [
          {
            name: 'cluster0',
            properties: {},
            children: harts.map((hart) => ({
              name: `core${hart}`,
              properties: { cpu: { phandleOf: cpuLabel(hart) } },
            })),
          },
        ],
      },
    ],
  };
}

function cpuNode(hart: number, { extensions, mmuType }: MachineTreeInput): TreeNode {
  const properties: Record<string, TreeValue> = {
    device_type: 'cpu',
    reg: hart,
    status: 'okay',
    compatible: 'riscv',
    'riscv,isa': isaString(extensions),
    'riscv,isa-base': 'rv64i',
    'riscv,isa-extensions': extensions,
    'mmu-type': mmuType,
  };
  if (extensions.includes('zicbom')) properties['riscv,cbom-block-size'] = CACHE_BLOCK_BYTES;
  if (extensions.includes('zicboz')) properties['riscv,cboz-block-size'] = CACHE_BLOCK_BYTES;
  return {
    name: `cpu@${hart.toString(16)}`,
    label: cpuLabel(hart),
    properties,
    children: [
      {
        name: 'interrupt-controller',
        label: hartInterruptController(hart).phandleOf,
        properties: { '#interrupt-cells': 1, 'interrupt-controller': true, compatible: 'riscv,cpu-intc' },
      },
    ],
  };
}

function cpuLabel(hart: number): string {
  return `cpu${hart}`;
}

/** The older way to name extensions: `rv64imafdc_zicsr_zba`. */
export function isaString(extensions: readonly string[]): string {
  const single = extensions.filter((extension) => extension.length === 1);
  const multi = extensions.filter((extension) => extension.length > 1);
  return [`rv64${single.join('')}`, ...multi].join('_');
}

/** What this machine's harts can do, by the ISA naming rules' order: what the device tree says, and what `isa` has. */
export const isaExtensions: readonly string[] = [
  'i',
  'm',
  'a',
  'f',
  'd',
  'c',
  'zicbom',
  'zicboz',
  'zicntr',
  'zicond',
  'zicsr',
  'zifencei',
  'zihintpause',
  'zihpm',
  'zawrs',
  'zba',
  'zbb',
  'zbs',
  'sstc',
  'svadu',
  'svinval',
  'svnapot',
  'svpbmt',
];

/** A node through which the kernel ends the machine: it writes `value` to the test device (binding: power/reset/syscon-poweroff). */
function syscon(name: 'poweroff' | 'reboot', value: number): TreeNode {
  return { name, properties: { compatible: `syscon-${name}`, regmap: TEST, offset: 0, value } };
}
