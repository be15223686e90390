/**
 * Where the initial ramdisk and the device tree go, by the rules of QEMU's `virt` machine:
 *
 *     RAM: [firmware][kernel .. bss]      [initrd]                    [device tree]
 *          2 MiB steps                     half of RAM or 512 MiB      last 2 MiB step below the
 *                                          behind the kernel           end of RAM, at most 3 GiB
 */

import { GiB, MiB, PAGE_SIZE, alignUp, guestPhysical } from '../../base/numbers.ts';
import type { GuestPhysical } from '../../base/numbers.ts';
import type { Placement } from '../device.ts';
import { MAXIMUM_FDT_BYTES } from '../fdt/format.ts';
import { tooLittleMemory } from './payload.ts';
import type { LoadedRange, Payload } from './payload.ts';

const TREE_ALIGNMENT = 2 * MiB;
/** The tree stays where 32-bit firmware can address it. */
const TREE_CEILING = 3 * GiB;
/** The ramdisk is not put farther behind the kernel than this unless it must. */
const INITRD_DISTANCE = 512 * MiB;

/** Where a device tree of `sizeBytes` goes. Whether that is behind everything else is for the caller to see. */
export function treeAddress(ram: Placement, sizeBytes: number): GuestPhysical {
  return guestPhysical(alignDown(treeTop(ram) - sizeBytes, TREE_ALIGNMENT));
}

/** The lowest address that a device tree may come to lie at: what is loaded stays below it. */
export function treeFloor(ram: Placement): number {
  return alignDown(treeTop(ram) - MAXIMUM_FDT_BYTES, TREE_ALIGNMENT);
}

/** Throws unless what was loaded (up to `end`, for `payload`) leaves room for the device tree. */
export function requireRoomForTree(payload: Payload, end: number, ram: Placement): void {
  if (end > treeFloor(ram)) throw tooLittleMemory(payload, sizeFor(end, ram), ram);
}

/** Where the initial ramdisk goes, behind a kernel that begins at `kernel.start` and uses memory up to `kernel.end`. Page aligned. */
export function initrdAddress(initrd: Payload, kernel: LoadedRange, ram: Placement): GuestPhysical {
  const size = alignUp(initrd.bytes.length, PAGE_SIZE);
  const earliest = alignUp(kernel.end, PAGE_SIZE);
  const latest = alignDown(treeFloor(ram) - size, PAGE_SIZE);
  if (latest < earliest) throw tooLittleMemory(initrd, sizeFor(earliest + size, ram), ram);
  const usual = alignDown(kernel.start + Math.min(ram.sizeBytes / 2, INITRD_DISTANCE), PAGE_SIZE);
  return guestPhysical(Math.max(earliest, Math.min(usual, latest)));
}

function treeTop(ram: Placement): number {
  return Math.min(ram.base + ram.sizeBytes, TREE_CEILING);
}

/** The least size of RAM with a tree floor at or above `end`. */
function sizeFor(end: number, ram: Placement): number {
  return alignUp(end, TREE_ALIGNMENT) + MAXIMUM_FDT_BYTES - ram.base;
}

function alignDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}
