/** A PCI function as the host bridge sees it: its configuration space, what lies behind its BARs, and the lifecycle of a device. */

import type { AccessSize, Device } from '../device.ts';
import type { ConfigurationSpace } from './configuration-space.ts';

export interface PciFunction extends Device {
  readonly configuration: ConfigurationSpace;
  /** Accesses to configuration space, naturally aligned, below CONFIGURATION_BYTES. They may have side effects. */
  readConfiguration(offset: number, size: AccessSize): number;
  writeConfiguration(offset: number, size: AccessSize, value: number): void;
  /** Accesses behind a BAR, naturally aligned and inside it. */
  readBar(bar: number, offset: number, size: AccessSize): number;
  writeBar(bar: number, offset: number, size: AccessSize, value: number): void;
  /** See MmioDevice.isNotice. */
  isNotice?(bar: number, offset: number): boolean;
}
