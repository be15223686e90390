/** The virtio devices of a machine, as its options name them: disks on virtio-mmio, everything else behind the PCI host bridge. */

import { assert } from '../base/assert.ts';
import type { FaultSink, GuestMemory, MmioDevice, TimedDevice, TreeNode } from './device.ts';
import {
  IRQ,
  MEMORY_MAP,
  PCIE_INTX_COUNT,
  VIRTIO_MMIO_SLOTS,
  highPcieMmioPlacement,
  virtioMmioPlacement,
} from './memory-map.ts';
import { NodeBudget } from './fuse/nodes.ts';
import type { MachineOptions } from './options.ts';
import { PciHostBridge } from './pci/host-bridge.ts';
import { hostBridgeNode } from './pci/tree.ts';
import { PciWindow } from './pci/window.ts';
import type { Plic } from './plic.ts';
import type { VirtioBalloon } from './virtio/balloon.ts';
import { MAXIMUM_BLOCK_QUEUES, VirtioBlock } from './virtio/block.ts';
import type { VirtioConsole } from './virtio/console.ts';
import { VirtioFs } from './virtio/fs.ts';
import { VirtioNet } from './virtio/net.ts';
import { VirtioRng } from './virtio/rng.ts';
import { EmptyVirtioMmio, VirtioMmio, virtioMmioNode } from './virtio/transport-mmio.ts';
import { VirtioPci } from './virtio/transport-pci.ts';
import type { VirtioDevice } from './virtio/virtio-device.ts';

export interface VirtioParts {
  readonly options: MachineOptions;
  readonly plic: Plic;
  /** How many harts there are: queues follow their number. */
  readonly harts: number;
  readonly memory: GuestMemory;
  readonly console: VirtioConsole | undefined;
  readonly balloon: VirtioBalloon | undefined;
  /** See FaultSink. */
  readonly broke: (error: unknown) => void;
}

/** A device, its place on the bus and in the device tree. */
export interface PlacedDevice {
  readonly device: MmioDevice;
  readonly placement: { readonly base: number; readonly sizeBytes: number };
  readonly node?: TreeNode;
}

/** In the order of the device tree, and those of them that have something to do when time passes. */
export interface VirtioDevices {
  readonly placed: readonly PlacedDevice[];
  readonly timed: readonly Pick<TimedDevice, 'poll' | 'dueInNs'>[];
}

export function virtioDevices(parts: VirtioParts): VirtioDevices {
  const pci = behindPci(parts);
  return { placed: [...mmioSlots(parts), ...pci.placed], timed: pci.timed };
}

/** The slots that QEMU's machine has, each with its node, the first ones with disks. */
function mmioSlots(parts: VirtioParts): PlacedDevice[] {
  const disks = disksOn('mmio', parts);
  assert(
    disks.length <= VIRTIO_MMIO_SLOTS,
    `${disks.length} disks do not fit ${VIRTIO_MMIO_SLOTS} slots of virtio-mmio`,
  );
  return Array.from({ length: VIRTIO_MMIO_SLOTS }, (_, slot) => {
    const placement = virtioMmioPlacement(slot);
    const source = IRQ.virtioFirst + slot;
    const device = disks[slot];
    const around = { placement, memory: parts.memory, interrupt: parts.plic.line(source), faults: faultsOf(parts) };
    return {
      device: device === undefined ? new EmptyVirtioMmio(placement) : new VirtioMmio({ ...around, device }),
      placement,
      node: virtioMmioNode(placement, source),
    };
  });
}

function behindPci(parts: VirtioParts): VirtioDevices {
  const { options, plic, harts, memory, console, balloon } = parts;
  const { entropy, networkCards = [], shares = [], log, clock } = options;
  const places = {
    ecam: MEMORY_MAP.pcieEcam,
    io: MEMORY_MAP.pciePio,
    memory32: MEMORY_MAP.pcieMmio,
    memory64: highPcieMmioPlacement(options.memoryBytes),
    firstSource: IRQ.pcieIntxFirst,
  };
  const lines = Array.from({ length: PCIE_INTX_COUNT }, (_, pin) => plic.line(IRQ.pcieIntxFirst + pin));
  const bridge = new PciHostBridge(places.ecam, lines);
  const cards = networkCards.map(
    ({ mac, port, counts }) =>
      new VirtioNet({ mac, port, counts, queuePairs: harts, nowNs: () => clock.monotonicNs() }),
  );
  const nodeBudget = new NodeBudget();
  // New kinds go to the end, so that the others keep their slots.
  const plugged: VirtioDevice[] = [
    new VirtioRng(entropy),
    ...(console ? [console] : []),
    ...disksOn('pci', parts),
    ...cards,
    ...shares.map(
      ({ tag, tree, readOnly = false, writeback = false }) =>
        new VirtioFs({ tag, tree, readOnly, writeback, nodeBudget, ...(log ? { log } : {}) }),
    ),
    ...(balloon ? [balloon] : []),
  ];
  const faults = faultsOf(parts);
  for (const [index, device] of plugged.entries())
    bridge.plug(index + 1, new VirtioPci({ slot: index + 1, device, memory, faults }));
  return {
    placed: [
      { device: bridge, placement: places.ecam, node: hostBridgeNode(places) },
      { device: new PciWindow(places.memory32, bridge), placement: places.memory32 },
      { device: new PciWindow(places.memory64, bridge), placement: places.memory64 },
      { device: new PciWindow(places.io, undefined), placement: places.io },
    ],
    timed: cards,
  };
}

function disksOn(wanted: 'pci' | 'mmio', { options: { disks = [], log }, harts }: VirtioParts): VirtioBlock[] {
  return disks
    .filter(({ bus = 'pci' }) => bus === wanted)
    .map(
      ({ store, serial, cache, queues = Math.min(harts, MAXIMUM_BLOCK_QUEUES) }) =>
        new VirtioBlock({ store, serial, cache, queues, ...(log ? { log } : {}) }),
    );
}

function faultsOf({ options: { faults, log }, broke }: VirtioParts): FaultSink {
  if (faults !== undefined) return { report: (device, reason) => faults.report(device, reason), broke };
  return { report: (device, reason) => log?.log('warn', 'device', `${device}: ${reason}`), broke };
}
