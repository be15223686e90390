/**
 * The windows of guest-physical space behind which the PCI bus lies (PCI Local Bus 3.0, 3.2.2): memory space below 4 GiB, memory space
 * above RAM, and I/O ports. Bus addresses are the harts' addresses. No device here has I/O ports, so nobody answers there.
 */

import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize, MmioDevice, Placement } from '../device.ts';
import type { PciHostBridge } from './host-bridge.ts';

/** A window onto memory space, or onto I/O space when there is no bridge behind it. Its state is the bridge's. */
export class PciWindow implements MmioDevice {
  readonly name: string;
  readonly #base: number;
  readonly #bridge: PciHostBridge | undefined;

  constructor(placement: Placement, bridge: PciHostBridge | undefined) {
    this.name = `${bridge === undefined ? 'pci-io' : 'pci-memory'}@${placement.base.toString(16)}`;
    this.#base = placement.base;
    this.#bridge = bridge;
  }

  read(offset: number, size: AccessSize): number {
    return this.#bridge?.readMemory(this.#base + offset, size) ?? 2 ** (8 * size) - 1;
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#bridge?.writeMemory(this.#base + offset, size, value);
  }

  isNotice(offset: number): boolean {
    return this.#bridge?.isNotice(this.#base + offset) === true;
  }

  reset(): void {}

  save(): Saved {
    return null;
  }

  restore(state: Saved): void {
    if (state !== null) new SavedReader(state, this.name).refuse('holds something, and a window keeps nothing');
  }
}
