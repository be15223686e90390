/** A virtqueue alone on a bench, for tests of the ring itself: an owner that only records, and the driver's end. */

import type { GuestMemory } from '../../device.ts';
import { QUEUE_AREA, Virtqueue } from '../queue.ts';
import type { QueueOwner } from '../queue.ts';
import { GuestAllocator, GuestQueue } from './guest-queue.ts';
import { ScatteredMemory } from './scattered-memory.ts';

export class RecordingOwner implements QueueOwner {
  readonly memory: GuestMemory;
  readonly features: Set<number>;
  readonly failures: string[] = [];
  interrupts = 0;
  live = true;

  constructor(memory: GuestMemory, features: readonly number[]) {
    this.memory = memory;
    this.features = new Set(features);
  }

  accepted(feature: number): boolean {
    return this.features.has(feature);
  }

  fail(reason: string): void {
    this.failures.push(reason);
    this.live = false;
  }

  interruptForUsed(): void {
    this.interrupts++;
  }
}

export class QueueBench {
  readonly memory: ScatteredMemory;
  readonly allocator: GuestAllocator;
  readonly owner: RecordingOwner;
  readonly queue: Virtqueue;
  readonly guest: GuestQueue;

  constructor(size: number, features: readonly number[], pages = 64) {
    this.memory = new ScatteredMemory(0x8000_0000, pages);
    this.allocator = new GuestAllocator(this.memory);
    this.owner = new RecordingOwner(this.memory, features);
    this.guest = new GuestQueue(this.allocator, size);
    this.queue = new Virtqueue(0, Math.max(size, 1), this.owner);
    setQueue(this.queue, this.guest);
    this.queue.enable();
  }
}

export interface QueuePlaces {
  readonly size: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

/** Writes a queue's registers without enabling it. */
export function setQueue(queue: Virtqueue, { size, descriptors, available, used }: QueuePlaces): void {
  queue.setSize(size);
  queue.setArea(QUEUE_AREA.descLow, descriptors);
  queue.setArea(QUEUE_AREA.descHigh, Math.floor(descriptors / 2 ** 32));
  queue.setArea(QUEUE_AREA.driverLow, available);
  queue.setArea(QUEUE_AREA.driverHigh, Math.floor(available / 2 ** 32));
  queue.setArea(QUEUE_AREA.deviceLow, used);
  queue.setArea(QUEUE_AREA.deviceHigh, Math.floor(used / 2 ** 32));
}
