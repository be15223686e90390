/**
 * The host bridge in the device tree, as QEMU's virt machine writes it (bindings: pci-host-ecam-generic; IEEE 1275 PCI Bus Binding 2.1,
 * 2.2.1.1 for addresses and 2.5 for interrupt maps).
 */

import type { Placement, TreeNode, TreeReference } from '../device.ts';
import { PLIC, cells64, regCells } from '../fdt/tree-values.ts';

/** `phys.hi` of a range: I/O space, 32-bit memory, 64-bit memory. */
const SPACE = { io: 0x0100_0000, memory32: 0x0200_0000, memory64: 0x0300_0000 } as const;

const PINS = 4;
/** Of a device number only the two lowest bits matter to the swizzle; of an interrupt specifier the pin. */
const INTERRUPT_MAP_MASK = [0x1800, 0, 0, 7];

export interface HostBridgePlacement {
  readonly ecam: Placement;
  readonly io: Placement;
  readonly memory32: Placement;
  readonly memory64: Placement;
  /** The PLIC's source for INTA of device 0; three more follow. */
  readonly firstSource: number;
}

export function hostBridgeNode(places: HostBridgePlacement): TreeNode {
  const { ecam, io, memory32, memory64, firstSource } = places;
  const interruptMap: (number | TreeReference)[] = [];
  for (let device = 0; device < PINS; device++) {
    for (let pin = 0; pin < PINS; pin++) {
      interruptMap.push(device << 11, 0, 0, pin + 1, PLIC, firstSource + ((pin + device) % PINS));
    }
  }
  return {
    name: `pci@${ecam.base.toString(16)}`,
    properties: {
      compatible: 'pci-host-ecam-generic',
      device_type: 'pci',
      '#address-cells': 3,
      '#interrupt-cells': 1,
      '#size-cells': 2,
      'linux,pci-domain': 0,
      'bus-range': [0, 255],
      'dma-coherent': true,
      reg: regCells(ecam),
      ranges: [
        // I/O ports begin at 0 on the bus; memory has the same addresses on both sides.
        SPACE.io,
        ...cells64(0),
        ...cells64(io.base),
        ...cells64(io.sizeBytes),
        ...memoryRange(SPACE.memory32, memory32),
        ...memoryRange(SPACE.memory64, memory64),
      ],
      'interrupt-map': interruptMap,
      'interrupt-map-mask': INTERRUPT_MAP_MASK,
    },
  };
}

function memoryRange(space: number, placement: Placement): number[] {
  return [space, ...cells64(placement.base), ...cells64(placement.base), ...cells64(placement.sizeBytes)];
}
