/**
 * The file system device (virtio 1.3, 5.11): a folder of the host in the guest, over the port FileTree.
 *
 *     queues: 0 high priority (FORGET)   1 requests
 *     chain  ->  ChainExchange  ->  FuseSession.serve, many at a time  ->  answer, used ring
 *
 * The requests are FUSE's (5.11.6); fuse/session.ts knows what they mean. Data of reads and writes goes straight between guest memory
 * and the file where the transport allows guest memory to be on loan, else through a buffer.
 *
 * No notification queue is offered: Linux has no driver for it. There is no DAX window.
 */

import { assert } from '../../base/assert.ts';
import type { Log } from '../../base/ports.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize } from '../device.ts';
import type { FuseExchange } from '../fuse/connection.ts';
import { FileError } from '../fuse/errno.ts';
import type { FileTree } from '../fuse/file-tree.ts';
import type { NodeBudget } from '../fuse/nodes.ts';
import { FuseSession } from '../fuse/session.ts';
import type { Chain } from './chain.ts';
import type { Virtqueue } from './queue.ts';
import { UnderWay } from './under-way.ts';
import { VIRTIO_ID, readLittleEndian } from './virtio-device.ts';
import type { VirtioDevice, VirtioDriver } from './virtio-device.ts';

const HIGH_PRIORITY_QUEUE_SIZE = 128;
/** A request of 1 MiB in pages, and what frames it, is one chain. */
const REQUEST_QUEUE_SIZE = 1024;
const REQUEST_QUEUES = 1;
/** Requests under way at once, all queues together; the others wait in the ring. */
export const MAXIMUM_UNDER_WAY = 64;

/** struct virtio_fs_config without `notify_buf_size`, which is there only with notifications (5.11.4). */
const CONFIGURATION = { tag: 0, numRequestQueues: 36, end: 40 };
/** The longest tag, in bytes of UTF-8. */
export const TAG_BYTES = 36;

export interface VirtioFsParts {
  /** The name by which the guest mounts it; 1 to TAG_BYTES bytes of UTF-8. */
  readonly tag: string;
  readonly tree: FileTree;
  readonly readOnly: boolean;
  readonly writeback: boolean;
  /** Shared with the machine's other trees. */
  readonly nodeBudget?: NodeBudget;
  readonly log?: Log;
}

export class VirtioFs implements VirtioDevice {
  readonly kind = 'virtio-fs';
  readonly deviceType = VIRTIO_ID.FILE_SYSTEM;
  readonly features = [];
  readonly queueSizes = [HIGH_PRIORITY_QUEUE_SIZE, ...Array.from({ length: REQUEST_QUEUES }, () => REQUEST_QUEUE_SIZE)];

  readonly #tag: Uint8Array;
  readonly #session: FuseSession;
  #driver: VirtioDriver | undefined;
  readonly #underWay = new UnderWay();
  #quiesced = false;

  constructor({ tag, ...options }: VirtioFsParts) {
    this.#tag = new TextEncoder().encode(tag);
    assert(this.#tag.length > 0 && this.#tag.length <= TAG_BYTES, `"${tag}" is no tag of a file system`);
    this.#session = new FuseSession(options, (reason) => this.#driver?.complain(reason));
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

  readConfiguration(offset: number, size: AccessSize): number {
    const bytes = new Uint8Array(CONFIGURATION.end);
    bytes.set(this.#tag, CONFIGURATION.tag);
    new DataView(bytes.buffer).setUint32(CONFIGURATION.numRequestQueues, REQUEST_QUEUES, true);
    return readLittleEndian(bytes, offset, size);
  }

  writeConfiguration(): void {
    this.#driver?.complain('the driver wrote to a part of the configuration that is read-only');
  }

  reset(): Promise<void> | undefined {
    this.#session.reset();
    return this.#loansReturned();
  }

  resetQueue(): Promise<void> | undefined {
    return this.#loansReturned();
  }

  async quiesce(): Promise<void> {
    this.#quiesced = true;
    await this.#underWay.whenIdle();
    await this.#session.settled();
  }

  resume(): void {
    this.#quiesced = false;
    this.#serve();
  }

  save(): Saved {
    return { session: this.#session.save() };
  }

  restore(state: Saved): void {
    this.#session.restorer(new SavedReader(state, this.kind).field('session'))();
  }

  /** Takes what waits in the rings, as long as there may be more under way. */
  #serve(): void {
    for (const queue of this.#driver?.queues ?? []) {
      while (!this.#quiesced && this.#underWay.count < MAXIMUM_UNDER_WAY) {
        const chain = queue.pop();
        if (chain === undefined) break;
        const lends = this.#driver?.waitsForReset === true;
        const written = this.#session.serve(new ChainExchange(queue, chain, lends));
        if (typeof written === 'number') queue.complete(chain, written);
        else this.#carryOut(async () => queue.complete(chain, await written));
      }
    }
  }

  #carryOut(request: () => Promise<void>): void {
    const broke = (error: unknown): void => this.#driver?.broke(error);
    void this.#underWay.carryOut(request, () => this.#serve(), broke);
  }

  /** Over when no guest memory is on loan; buffers of our own need not be waited for. */
  #loansReturned(): Promise<void> | undefined {
    return this.#driver?.waitsForReset === true ? this.#underWay.whenIdle() : undefined;
  }
}

/** The guest memory of one request. After a reset nothing of it is touched any more. */
class ChainExchange implements FuseExchange {
  readonly requestBytes: number;
  readonly answerRoom: number;
  readonly #queue: Virtqueue;
  readonly #chain: Chain;
  /** Whether guest memory may be lent; else what is moved goes through a buffer. */
  readonly #lends: boolean;

  constructor(queue: Virtqueue, chain: Chain, lends: boolean) {
    this.requestBytes = chain.readable.bytes;
    this.answerRoom = chain.writable.bytes;
    this.#queue = queue;
    this.#chain = chain;
    this.#lends = lends;
  }

  readRequest(offset: number, bytes: number): Uint8Array {
    const into = new Uint8Array(bytes);
    this.#chain.readable.copyTo(into, offset);
    return into;
  }

  writeAnswer(offset: number, bytes: Uint8Array): void {
    if (this.#queue.awaits(this.#chain)) this.#chain.writable.copyFrom(bytes, offset);
  }

  async takeData(offset: number, bytes: number, act: (views: readonly Uint8Array[]) => Promise<void>): Promise<void> {
    // What lies there after a reset is not what was to be written.
    if (!this.#queue.awaits(this.#chain)) throw new FileError('EIO');
    if (!this.#lends) return act([this.readRequest(offset, bytes)]);
    const loan = this.#chain.readable.lend(offset, bytes);
    try {
      return await act(loan.views);
    } finally {
      loan.release();
    }
  }

  async giveData(
    offset: number,
    bytes: number,
    act: (views: readonly Uint8Array[]) => Promise<number>,
  ): Promise<number> {
    if (!this.#lends) {
      const buffer = new Uint8Array(bytes);
      const filled = await act([buffer]);
      this.writeAnswer(offset, buffer.subarray(0, filled));
      return filled;
    }
    const loan = this.#chain.writable.lend(offset, bytes);
    try {
      return await act(loan.views);
    } finally {
      loan.release();
    }
  }
}
