/**
 * What every transport does alike: device status, feature negotiation, queue registers, interrupt status and configuration generation
 * (virtio 1.3, 2.1 to 2.6 and 3.1). Transports give these registers addresses and nothing else.
 *
 *     reset (0) -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK -> DRIVER_OK: the device is live
 *                                                             \-> DEVICE_NEEDS_RESET: a broken rule; nothing but a reset helps
 *
 * VIRTIO_F_VERSION_1 is offered and not insisted on: xv6 accepts none of the upper 32 features and speaks the modern interface.
 */

import type { Saved, SavedReader } from '../../base/saved.ts';
import type { AccessSize, FaultSink, GuestMemory } from '../device.ts';
import { FEATURE_WORDS, FeatureSet, VIRTIO_F } from './features.ts';
import { Virtqueue } from './queue.ts';
import type { QueueAreaWord, QueueOwner } from './queue.ts';
import { STATUS } from './virtio-device.ts';
import type { VirtioDevice, VirtioDriver } from './virtio-device.ts';

/** Bits of the interrupt status (4.1.4.5, 4.2.2). */
export const INTERRUPT = { USED: 1, CONFIGURATION: 2 } as const;

const DRIVER_BITS = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.DRIVER_OK | STATUS.FEATURES_OK | STATUS.FAILED;
const EVERY_STATUS_BIT = DRIVER_BITS | STATUS.DEVICE_NEEDS_RESET;

/** What a transport puts in. */
export interface CommonConfigurationParts {
  readonly name: string;
  readonly device: VirtioDevice;
  readonly memory: GuestMemory;
  readonly faults: FaultSink;
  /** See VirtioDriver. */
  readonly waitsForReset: boolean;
  /** Learns of every change of the interrupt status. */
  readonly interruptChanged: (status: number) => void;
}

export class CommonConfiguration implements VirtioDriver, QueueOwner {
  readonly device: VirtioDevice;
  readonly memory: GuestMemory;
  readonly queues: readonly Virtqueue[];
  readonly waitsForReset: boolean;

  deviceFeatureSelect = 0;
  driverFeatureSelect = 0;
  queueSelect = 0;

  readonly #name: string;
  readonly #faults: FaultSink;
  readonly #interruptChanged: (status: number) => void;
  readonly #offered: FeatureSet;
  #driverFeatures = FeatureSet.none;
  #status = 0;
  #interruptStatus = 0;
  #generation = 0;
  /** The configuration changed since the driver last read any of it: the next read makes a new generation (4.1.4.3.1). */
  #changedSinceRead = false;
  /** The reset that waits for requests under way; the status stays what it was and is not writable. */
  #pendingReset: Promise<void> | undefined;
  /** Queue resets that wait, by queue index. */
  readonly #pendingQueueResets = new Map<number, Promise<void>>();

  constructor(parts: CommonConfigurationParts) {
    const { device } = parts;
    this.#name = parts.name;
    this.device = device;
    this.memory = parts.memory;
    this.waitsForReset = parts.waitsForReset;
    this.#faults = parts.faults;
    this.#interruptChanged = parts.interruptChanged;
    this.#offered = FeatureSet.of([...device.features, ...Object.values(VIRTIO_F)]);
    this.queues = device.queueSizes.map((size, index) => new Virtqueue(index, size, this));
    device.attach(this);
  }

  // The driver, as the device sees it.

  get live(): boolean {
    return (
      (this.#status & (STATUS.DRIVER_OK | STATUS.DEVICE_NEEDS_RESET)) === STATUS.DRIVER_OK &&
      this.#pendingReset === undefined
    );
  }

  get negotiated(): boolean {
    return (this.#status & STATUS.FEATURES_OK) !== 0 && this.#pendingReset === undefined;
  }

  accepted(feature: number): boolean {
    return this.negotiated && this.#driverFeatures.has(feature);
  }

  configurationChanged(): void {
    this.#changedSinceRead = true;
    if (this.live) this.#raise(INTERRUPT.CONFIGURATION);
  }

  interruptForUsed(): void {
    this.#raise(INTERRUPT.USED);
  }

  complain(reason: string): void {
    this.#faults.report(this.#name, reason);
  }

  broke(error: unknown): void {
    if (this.#faults.broke === undefined) throw error;
    this.#faults.broke(error);
  }

  fail(reason: string): void {
    this.complain(reason);
    const wasOk = (this.#status & STATUS.DRIVER_OK) !== 0;
    this.#status |= STATUS.DEVICE_NEEDS_RESET;
    for (const queue of this.queues) queue.forget();
    if (wasOk) this.#raise(INTERRUPT.CONFIGURATION);
  }

  // Device status and interrupt status.

  get status(): number {
    return this.#status;
  }

  /** Writes `device_status`: 0 resets, other values add bits (3.1.1). */
  writeStatus(value: number): void {
    if (value === 0) return this.#reset();
    if (this.#pendingReset !== undefined) return this.complain('the driver wrote its status before the reset was over');
    if ((this.#status & DRIVER_BITS & ~value) !== 0) this.complain('the driver cleared a status bit without a reset');
    const added = value & DRIVER_BITS & ~this.#status;
    this.#status |= added & ~(STATUS.FEATURES_OK | STATUS.DRIVER_OK);
    if ((added & STATUS.FEATURES_OK) !== 0) {
      if (this.#driverFeatures.within(this.#offered)) this.#status |= STATUS.FEATURES_OK;
      else this.complain('the driver accepted features that were not offered');
    }
    if ((added & STATUS.DRIVER_OK) === 0) return undefined;
    if ((this.#status & STATUS.FEATURES_OK) === 0)
      return this.complain('the driver is ready without having agreed on features');
    this.#status |= STATUS.DRIVER_OK;
    if (this.live) this.device.activate();
    return undefined;
  }

  get interruptStatus(): number {
    return this.#interruptStatus;
  }

  acknowledgeInterrupt(bits: number): void {
    this.#setInterruptStatus(this.#interruptStatus & ~bits);
  }

  // Feature negotiation.

  get deviceFeatures(): number {
    return this.#offered.word(this.deviceFeatureSelect);
  }

  get driverFeatures(): number {
    return this.#driverFeatures.word(this.driverFeatureSelect);
  }

  /** What was agreed stays (2.2). */
  set driverFeatures(word: number) {
    if ((this.#status & STATUS.FEATURES_OK) !== 0) this.complain('the driver changed features after it agreed on them');
    else this.#driverFeatures = this.#driverFeatures.withWord(this.driverFeatureSelect, word);
  }

  // Queue registers, of the queue that `queueSelect` names; a queue that does not exist has size 0 and ignores writes.

  get #selected(): Virtqueue | undefined {
    return this.queues[this.queueSelect];
  }

  get queueSizeMax(): number {
    return this.#selected?.maximumSize ?? 0;
  }

  get queueSize(): number {
    return this.#selected?.size ?? 0;
  }

  set queueSize(size: number) {
    this.#selected?.setSize(size);
  }

  queueArea(word: QueueAreaWord): number {
    return this.#selected?.area(word) ?? 0;
  }

  setQueueArea(word: QueueAreaWord, value: number): void {
    this.#selected?.setArea(word, value);
  }

  /** A queue whose reset has not finished still shows as enabled (4.2.2.1: the driver reads it back to be sure). */
  get queueEnabled(): boolean {
    return this.#selected?.enabled === true || this.queueResetting;
  }

  enableQueue(): void {
    if (this.queueResetting)
      return this.complain(`the driver enabled queue ${this.queueSelect} before its reset was over`);
    if (this.#pendingReset === undefined) this.#selected?.enable();
    return undefined;
  }

  get queueResetting(): boolean {
    return this.#pendingQueueResets.has(this.queueSelect);
  }

  /** Takes the selected queue back to its default state (2.6.1). */
  resetQueue(): void {
    const queue = this.#selected;
    if (queue === undefined || this.queueResetting || this.#pendingReset !== undefined) return;
    queue.reset();
    const pending = this.device.resetQueue?.(queue.index);
    if (pending === undefined) return;
    this.#pendingQueueResets.set(queue.index, pending);
    void this.#finishQueueReset(queue.index, pending);
  }

  /** An available buffer notification. Before DRIVER_OK it is nothing: `activate` looks at all queues. */
  notifyQueue(index: number): void {
    const queue = this.queues[index];
    if (queue === undefined) return this.complain(`the driver notified queue ${index}, which does not exist`);
    if (this.live && queue.enabled) this.device.notify(index);
    return undefined;
  }

  // Device-specific configuration.

  get generation(): number {
    return this.#generation;
  }

  readConfiguration(offset: number, size: AccessSize): number {
    if (this.#changedSinceRead) {
      this.#changedSinceRead = false;
      this.#generation = (this.#generation + 1) & 0xff;
    }
    return this.device.readConfiguration(offset, size);
  }

  writeConfiguration(offset: number, size: AccessSize, value: number): void {
    this.device.writeConfiguration(offset, size, value);
  }

  // Lifecycle.

  /** Power-on. Requests that are still under way (the machine did not quiesce) make it a reset that takes its time. */
  powerOn(): void {
    this.#reset();
    this.deviceFeatureSelect = 0;
    this.driverFeatureSelect = 0;
    this.queueSelect = 0;
    this.#generation = 0;
    this.#changedSinceRead = false;
  }

  async quiesce(): Promise<void> {
    await this.device.quiesce?.();
    await this.#pendingReset;
    await Promise.all(this.#pendingQueueResets.values());
  }

  resume(): void {
    this.device.resume?.();
  }

  save(): Saved {
    return {
      status: this.#status,
      interruptStatus: this.#interruptStatus,
      deviceFeatureSelect: this.deviceFeatureSelect,
      driverFeatureSelect: this.driverFeatureSelect,
      driverFeatures: Array.from({ length: FEATURE_WORDS }, (_, word) => this.#driverFeatures.word(word)),
      queueSelect: this.queueSelect,
      generation: this.#generation,
      changedSinceRead: this.#changedSinceRead,
      queues: this.queues.map((queue) => queue.save()),
      device: this.device.save(),
    };
  }

  restore(reader: SavedReader): void {
    const status = reader.field('status').integer(0, 0xff);
    const interruptStatus = reader.field('interruptStatus').integer(0, INTERRUPT.USED | INTERRUPT.CONFIGURATION);
    const deviceFeatureSelect = reader.field('deviceFeatureSelect').u32();
    const driverFeatureSelect = reader.field('driverFeatureSelect').u32();
    const words = reader.field('driverFeatures').list(FEATURE_WORDS);
    const driverFeatures = words.reduce((set, word, index) => set.withWord(index, word.u32()), FeatureSet.none);
    const queueSelect = reader.field('queueSelect').u32();
    const generation = reader.field('generation').integer(0, 0xff);
    const changedSinceRead = reader.field('changedSinceRead').boolean();
    const queueReaders = reader.field('queues').list(this.queues.length);
    if ((status & ~EVERY_STATUS_BIT) !== 0) reader.field('status').refuse('has bits that do not exist');
    if ((status & STATUS.FEATURES_OK) !== 0 && !driverFeatures.within(this.#offered)) {
      reader.field('driverFeatures').refuse('holds features that this device does not offer');
    }
    if ((status & STATUS.DRIVER_OK) !== 0 && (status & STATUS.FEATURES_OK) === 0) {
      reader.field('status').refuse('says ready without agreed features');
    }
    const restorers = this.queues.map((queue, index) => queue.restorer(queueReaders[index] ?? reader));
    this.device.restore(reader.field('device').raw());

    // Nothing below can fail.
    for (const restoreQueue of restorers) restoreQueue();
    this.#status = status;
    this.deviceFeatureSelect = deviceFeatureSelect;
    this.driverFeatureSelect = driverFeatureSelect;
    this.#driverFeatures = driverFeatures;
    this.queueSelect = queueSelect;
    this.#generation = generation;
    this.#changedSinceRead = changedSinceRead;
    this.#pendingReset = undefined;
    this.#pendingQueueResets.clear();
    this.#setInterruptStatus(interruptStatus);
  }

  #reset(): void {
    if (this.#pendingReset !== undefined) return;
    for (const queue of this.queues) queue.reset();
    this.#pendingQueueResets.clear();
    this.#driverFeatures = FeatureSet.none;
    this.#setInterruptStatus(0);
    const pending = this.device.reset();
    if (pending === undefined) {
      this.#status = 0;
      return;
    }
    this.#pendingReset = pending;
    void this.#finishReset(pending);
  }

  async #finishReset(pending: Promise<void>): Promise<void> {
    await pending;
    if (this.#pendingReset !== pending) return;
    this.#pendingReset = undefined;
    this.#status = 0;
  }

  async #finishQueueReset(index: number, pending: Promise<void>): Promise<void> {
    await pending;
    if (this.#pendingQueueResets.get(index) === pending) this.#pendingQueueResets.delete(index);
  }

  #raise(bit: number): void {
    this.#setInterruptStatus(this.#interruptStatus | bit);
  }

  #setInterruptStatus(status: number): void {
    if (status === this.#interruptStatus) return;
    this.#interruptStatus = status;
    this.#interruptChanged(status);
  }
}
