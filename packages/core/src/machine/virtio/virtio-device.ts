/**
 * A virtio device without its transport (virtio 1.3, chapter 5), and the driver as such a device sees it. Both transports drive every
 * device through these two interfaces; what they have in common is in common-configuration.ts.
 *
 *     transport-mmio.ts \                            / balloon.ts, block.ts
 *                        common-configuration.ts  --  console.ts
 *     transport-pci.ts  /                            \ fs.ts, net.ts
 *                                                    rng.ts
 */

import type { Saved } from '../../base/saved.ts';
import type { AccessSize, GuestMemory } from '../device.ts';
import type { Virtqueue } from './queue.ts';

/** Device types (chapter 5). */
export const VIRTIO_ID = { NETWORK: 1, BLOCK: 2, CONSOLE: 3, ENTROPY: 4, BALLOON: 5, FILE_SYSTEM: 26 } as const;

/** Bits of `device_status` (2.1). */
export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** The driver, its queues and its memory, as a device sees them. */
export interface VirtioDriver {
  readonly memory: GuestMemory;
  /** One per entry of the device's `queueSizes`, enabled or not; the same objects for the device's whole life. */
  readonly queues: readonly Virtqueue[];
  /** True from DRIVER_OK until a reset or a failure. */
  readonly live: boolean;
  /** Whether a driver on this transport waits until a reset shows as finished. Where it does not, no guest memory may be on loan then. */
  readonly waitsForReset: boolean;
  /** True from FEATURES_OK on. */
  readonly negotiated: boolean;
  /** Whether the driver accepted a feature bit; false until FEATURES_OK. */
  accepted(feature: number): boolean;
  /** Tells the driver that the configuration changed. Call it before the change can be read. */
  configurationChanged(): void;
  /** The driver broke the rules in a way the device cannot answer: DEVICE_NEEDS_RESET. */
  fail(reason: string): void;
  /** The driver broke a rule and the device can go on: counted and traced. */
  complain(reason: string): void;
  /** The device itself failed at a time of its own, nobody's instruction under way: the machine fails when it runs next. */
  broke(error: unknown): void;
}

export interface VirtioDevice {
  /** What it is, as the device's name begins: `virtio-block`. */
  readonly kind: string;
  readonly deviceType: number;
  /** Bits of its own type that it offers. */
  readonly features: readonly number[];
  /** The largest size of every queue. */
  readonly queueSizes: readonly number[];

  /** Called once, by the transport the device is built into. */
  attach(driver: VirtioDriver): void;
  /** The driver is ready (DRIVER_OK): buffers may wait in every queue already. */
  activate(): void;
  /** The driver has put something into a queue, or says so. Only while the driver is live and the queue is enabled. */
  notify(queueIndex: number): void;

  /** `offset` and `size` are as the guest chose them; bytes that do not exist read as zero and ignore writes. */
  readConfiguration(offset: number, size: AccessSize): number;
  writeConfiguration(offset: number, size: AccessSize, value: number): void;

  /**
   * The driver resets the device; its queues are empty already. Returns a promise when guest memory is still on loan: the transport
   * shows the reset as unfinished (2.4) until it resolves. It never rejects.
   */
  reset(): Promise<void> | undefined;
  /** The driver resets one queue (2.6.1), likewise. */
  resetQueue?(queueIndex: number): Promise<void> | undefined;

  /** See Device.quiesce. */
  quiesce?(): Promise<void>;
  resume?(): void;
  save(): Saved;
  /** Takes back what `save` gave; throws SavedStateError and is then unchanged. Queues and features follow: do not look at them here. */
  restore(state: Saved): void;
}

/** Reads little-endian configuration bytes; what lies beyond them is zero. */
export function readLittleEndian(bytes: Uint8Array, offset: number, size: AccessSize): number {
  let value = 0;
  for (let index = 0; index < size; index++) value += (bytes[offset + index] ?? 0) * 2 ** (8 * index);
  return value;
}
