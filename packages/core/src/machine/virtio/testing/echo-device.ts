/** A virtio device for tests of transports: answers every request with its own bytes, and keeps what it was told. */

import type { Saved } from '../../../base/saved.ts';
import { SavedReader } from '../../../base/saved.ts';
import type { AccessSize } from '../../device.ts';
import { readLittleEndian } from '../virtio-device.ts';
import type { VirtioDevice, VirtioDriver } from '../virtio-device.ts';
import type { Chain } from '../chain.ts';
import type { Virtqueue } from '../queue.ts';

export const ECHO_FEATURE = 3;

export class EchoDevice implements VirtioDevice {
  readonly kind = 'virtio-echo';
  readonly deviceType = 42;
  readonly features = [ECHO_FEATURE];
  readonly queueSizes = [8, 16];
  readonly configuration = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  readonly events: string[] = [];
  /** When set, requests are held until `finish`. */
  slow = false;
  driver!: VirtioDriver;
  readonly #held: { readonly queue: Virtqueue; readonly chain: Chain }[] = [];
  #idle: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  attach(driver: VirtioDriver): void {
    this.driver = driver;
  }

  activate(): void {
    this.events.push('activate');
    for (const queue of this.driver.queues) this.#serve(queue);
  }

  notify(queueIndex: number): void {
    this.events.push(`notify ${queueIndex}`);
    const queue = this.driver.queues[queueIndex];
    if (queue !== undefined) this.#serve(queue);
  }

  readConfiguration(offset: number, size: AccessSize): number {
    return readLittleEndian(this.configuration, offset, size);
  }

  writeConfiguration(offset: number, size: AccessSize, value: number): void {
    for (let index = 0; index < size && offset + index < this.configuration.length; index++) {
      this.configuration[offset + index] = value >>> (8 * index);
    }
  }

  reset(): Promise<void> | undefined {
    this.events.push('reset');
    this.configuration.set([1, 2, 3, 4, 5, 6, 7, 8]);
    return this.#whenIdle();
  }

  resetQueue(queueIndex: number): Promise<void> | undefined {
    this.events.push(`reset queue ${queueIndex}`);
    return this.#whenIdle();
  }

  async quiesce(): Promise<void> {
    await this.#whenIdle();
  }

  resume(): void {
    for (const queue of this.driver.queues) this.#serve(queue);
  }

  /** Answers what is held. */
  finish(): void {
    for (const { queue, chain } of this.#held.splice(0)) answer(queue, chain);
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  save(): Saved {
    return { configuration: this.configuration.slice() };
  }

  restore(state: Saved): void {
    this.configuration.set(new SavedReader(state, this.kind).field('configuration').bytes(8));
  }

  #serve(queue: Virtqueue): void {
    for (;;) {
      const chain = queue.pop();
      if (chain === undefined) return;
      if (this.slow) this.#held.push({ queue, chain });
      else answer(queue, chain);
    }
  }

  #whenIdle(): Promise<void> | undefined {
    if (this.#held.length === 0) return undefined;
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
  }
}

function answer(queue: Virtqueue, chain: Chain): void {
  const bytes = new Uint8Array(Math.min(chain.readable.bytes, chain.writable.bytes, 1 << 16));
  if (queue.awaits(chain)) {
    chain.readable.copyTo(bytes);
    chain.writable.copyFrom(bytes);
  }
  queue.complete(chain, bytes.length);
}
