/**
 * The entropy device (virtio 1.3, 5.4): random bytes for whoever asks.
 *
 *     requestq: device-writable buffers, filled from the port Entropy
 *
 * It has no configuration and keeps no state between requests.
 */

import { KiB } from '../../base/numbers.ts';
import type { Entropy } from '../../base/ports.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import { VIRTIO_ID } from './virtio-device.ts';
import type { VirtioDevice, VirtioDriver } from './virtio-device.ts';

/** As many requests wait at most as with QEMU. */
const QUEUE_SIZE = 8;
/** A request gets no more than this; the device may use less than the buffer (5.4.6.2), and the driver asks again. */
export const MAXIMUM_ENTROPY_BYTES = 4 * KiB;

export class VirtioRng implements VirtioDevice {
  readonly kind = 'virtio-rng';
  readonly deviceType = VIRTIO_ID.ENTROPY;
  readonly features = [];
  readonly queueSizes = [QUEUE_SIZE];
  readonly #entropy: Entropy;
  #driver: VirtioDriver | undefined;

  constructor(entropy: Entropy) {
    this.#entropy = entropy;
  }

  attach(driver: VirtioDriver): void {
    this.#driver = driver;
  }

  activate(): void {
    this.#serve();
  }

  notify(): void {
    this.#serve();
  }

  readConfiguration(): number {
    return 0;
  }

  writeConfiguration(): void {}

  reset(): undefined {}

  resume(): void {
    this.#serve();
  }

  save(): Saved {
    return null;
  }

  restore(state: Saved): void {
    if (state !== null) new SavedReader(state, this.kind).refuse('holds something, and this device keeps nothing');
  }

  #serve(): void {
    const queue = this.#driver?.queues[0];
    for (;;) {
      const chain = queue?.pop();
      if (chain === undefined) return;
      const bytes = new Uint8Array(Math.min(chain.writable.bytes, MAXIMUM_ENTROPY_BYTES));
      if (bytes.length === 0) this.#driver?.complain('the driver asked for no entropy');
      // oxlint-disable-next-line unicorn/no-array-fill-with-reference-type -- a port, not an array
      this.#entropy.fill(bytes);
      chain.writable.copyFrom(bytes);
      queue?.complete(chain, bytes.length);
    }
  }
}
