/**
 * Property values that every device node is made of, in the shapes of the Devicetree Specification v0.4, 2.3 and 2.4. All nodes of the
 * machine live under buses with two address cells and two size cells.
 */

import type { Placement, TreeReference, TreeValue } from '../device.ts';

/** The PLIC, as nodes refer to it. */
export const PLIC: TreeReference = { phandleOf: 'plic' };

/** The test device, as the nodes for poweroff and reboot refer to it. */
export const TEST: TreeReference = { phandleOf: 'test' };

/** The interrupt controller that hart number `hart` has built in (its three levels of `mip`). */
export function hartInterruptController(hart: number): TreeReference {
  return { phandleOf: `cpu${hart}_intc` };
}

/** `value` as two cells, high first. */
export function cells64(value: number): [number, number] {
  return [Math.floor(value / 2 ** 32), value >>> 0];
}

/** The `reg` property of a device at these places. */
export function regCells(...placements: readonly Placement[]): number[] {
  return placements.flatMap(({ base, sizeBytes }) => [...cells64(base), ...cells64(sizeBytes)]);
}

/** The properties of a device wired to this source of the PLIC. */
export function plicInterrupt(source: number): Record<'interrupts' | 'interrupt-parent', TreeValue> {
  return { interrupts: source, 'interrupt-parent': PLIC };
}
