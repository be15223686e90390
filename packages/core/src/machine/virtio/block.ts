/**
 * The block device (virtio 1.3, 5.2) over the port BlockStore.
 *
 *     requestqs  ->  parseBlockRequest  ->  store.read / write / flush / ..., many at a time  ->  status, used ring
 *
 * Data goes straight between guest memory and the store where the transport allows guest memory to be on loan, else through a buffer.
 * Large requests go in slices, so that none of them holds the store (or a buffer) for long. A request that fails in the store fails in
 * the guest, as an I/O error.
 *
 * Snapshots wait (`quiesce`) for requests under way instead of issuing them again after a restore: a snapshot of the disk taken at the
 * same time must not see half of a write.
 */

import { AssertionFailure, assert } from '../../base/assert.ts';
import { KiB, MiB } from '../../base/numbers.ts';
import type { BlockStore, Log } from '../../base/ports.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize } from '../device.ts';
import {
  BLOCK_STATUS,
  MAXIMUM_RANGES,
  MAXIMUM_RANGE_SECTORS,
  SECTOR_BYTES,
  parseBlockRequest,
  statusOffset,
} from './block-request.ts';
import type { BlockFlush, BlockRanges, BlockStatus, BlockTransfer } from './block-request.ts';
import type { Chain } from './chain.ts';
import type { Virtqueue } from './queue.ts';
import { UnderWay } from './under-way.ts';
import { VIRTIO_ID, readLittleEndian } from './virtio-device.ts';
import type { VirtioDevice, VirtioDriver } from './virtio-device.ts';

/** Feature bits (5.2.3). Lifetime, secure erase and zones are not offered. */
export const VIRTIO_BLK_F = {
  SIZE_MAX: 1,
  SEG_MAX: 2,
  RO: 5,
  BLK_SIZE: 6,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
} as const;

const QUEUE_SIZE = 256;
/** More queues than harts can use would only cost memory. */
export const MAXIMUM_BLOCK_QUEUES = 8;
/** Requests under way at once, all queues together; the others wait in the ring. */
export const MAXIMUM_UNDER_WAY = 64;
/** What goes to the store in one call, and the size of a buffer where there must be one. */
export const MAXIMUM_TRANSFER_BYTES = 512 * KiB;
/** Told to the driver as `size_max`; larger segments work too. */
const SEGMENT_BYTES = MiB;
/** Descriptors of a request that are not data: header and status. */
const FRAMING_DESCRIPTORS = 2;
const IDENTITY_BYTES = 20;

/** struct virtio_blk_config up to `write_zeroes_may_unmap` (5.2.4). */
const CONFIGURATION = {
  capacity: 0,
  sizeMax: 8,
  segMax: 12,
  blkSize: 20,
  physicalBlockExp: 24,
  minIoSize: 26,
  writeback: 32,
  numQueues: 34,
  maxDiscardSectors: 36,
  maxDiscardSeg: 40,
  discardSectorAlignment: 44,
  maxWriteZeroesSectors: 48,
  maxWriteZeroesSeg: 52,
  writeZeroesMayUnmap: 56,
  end: 60,
};
/** Guests do best with whole pages: 2^3 sectors. */
const PHYSICAL_BLOCK_EXP = 3;

/** What the driver chose through `writeback`; until it does, what the disk is set to and what follows from the features. */
const CACHE_MODES = ['unchosen', 'writeback', 'writethrough'] as const;
type CacheMode = (typeof CACHE_MODES)[number];

export interface VirtioBlockParts {
  readonly store: BlockStore;
  /** What the guest shows as the disk's serial number; the first 20 bytes count. */
  readonly serial: string;
  /** The mode to begin with; `writeback` when absent. */
  readonly cache?: 'writeback' | 'writethrough' | undefined;
  /** Request queues, 1 to MAXIMUM_BLOCK_QUEUES; one when absent. */
  readonly queues?: number | undefined;
  readonly log?: Log;
}

export class VirtioBlock implements VirtioDevice {
  readonly kind = 'virtio-block';
  readonly deviceType = VIRTIO_ID.BLOCK;
  readonly features: readonly number[];
  readonly queueSizes: readonly number[];

  readonly #store: BlockStore;
  readonly #serial: Uint8Array;
  readonly #log: Log | undefined;
  readonly #sectors: number;
  readonly #initialCache: 'writeback' | 'writethrough';
  #driver: VirtioDriver | undefined;
  #cache: CacheMode = 'unchosen';
  /** The queue that is looked at next: a queue that is always full must not keep the others waiting. */
  #turn = 0;
  readonly #underWay = new UnderWay();
  #quiesced = false;

  constructor({ store, serial, cache = 'writeback', queues = 1, log }: VirtioBlockParts) {
    assert(queues >= 1 && queues <= MAXIMUM_BLOCK_QUEUES, `a disk cannot have ${queues} queues`);
    this.queueSizes = Array.from({ length: queues }, () => QUEUE_SIZE);
    this.#store = store;
    this.#initialCache = cache;
    this.#serial = new TextEncoder().encode(serial).slice(0, IDENTITY_BYTES);
    this.#log = log;
    this.#sectors = Math.floor(store.sizeBytes / SECTOR_BYTES);
    const { RO, DISCARD, WRITE_ZEROES, ...always } = VIRTIO_BLK_F;
    const writing = store.discardGranularityBytes === undefined ? [WRITE_ZEROES] : [WRITE_ZEROES, DISCARD];
    this.features = [...Object.values(always), ...(store.readOnly ? [RO] : writing)];
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
    const fields = new DataView(bytes.buffer);
    fields.setUint32(CONFIGURATION.capacity, this.#sectors, true);
    fields.setUint32(CONFIGURATION.capacity + 4, Math.floor(this.#sectors / 2 ** 32), true);
    fields.setUint32(CONFIGURATION.sizeMax, SEGMENT_BYTES, true);
    fields.setUint32(CONFIGURATION.segMax, QUEUE_SIZE - FRAMING_DESCRIPTORS, true);
    fields.setUint32(CONFIGURATION.blkSize, SECTOR_BYTES, true);
    fields.setUint8(CONFIGURATION.physicalBlockExp, PHYSICAL_BLOCK_EXP);
    fields.setUint16(CONFIGURATION.minIoSize, 1 << PHYSICAL_BLOCK_EXP, true);
    fields.setUint8(CONFIGURATION.writeback, Number(this.#writesBack()));
    fields.setUint16(CONFIGURATION.numQueues, this.queueSizes.length, true);
    const { discardGranularityBytes, readOnly } = this.#store;
    if (!readOnly && discardGranularityBytes !== undefined) {
      fields.setUint32(CONFIGURATION.maxDiscardSectors, MAXIMUM_RANGE_SECTORS, true);
      fields.setUint32(CONFIGURATION.maxDiscardSeg, MAXIMUM_RANGES, true);
      fields.setUint32(CONFIGURATION.discardSectorAlignment, Math.ceil(discardGranularityBytes / SECTOR_BYTES), true);
    }
    if (!readOnly) {
      fields.setUint32(CONFIGURATION.maxWriteZeroesSectors, MAXIMUM_RANGE_SECTORS, true);
      fields.setUint32(CONFIGURATION.maxWriteZeroesSeg, MAXIMUM_RANGES, true);
      fields.setUint8(CONFIGURATION.writeZeroesMayUnmap, Number(discardGranularityBytes !== undefined));
    }
    return readLittleEndian(bytes, offset, size);
  }

  writeConfiguration(offset: number, size: AccessSize, value: number): void {
    const chooses =
      offset === CONFIGURATION.writeback && size === 1 && this.#driver?.accepted(VIRTIO_BLK_F.CONFIG_WCE) === true;
    if (chooses) this.#cache = (value & 1) === 1 ? 'writeback' : 'writethrough';
    else this.#driver?.complain('the driver wrote to a part of the configuration that is read-only');
  }

  reset(): Promise<void> | undefined {
    this.#cache = 'unchosen';
    this.#turn = 0;
    return this.#loansReturned();
  }

  resetQueue(): Promise<void> | undefined {
    return this.#loansReturned();
  }

  async quiesce(): Promise<void> {
    this.#quiesced = true;
    await this.#underWay.whenIdle();
  }

  resume(): void {
    this.#quiesced = false;
    this.#serve();
  }

  save(): Saved {
    return { cache: this.#cache, turn: this.#turn };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.kind);
    const field = reader.field('cache');
    const name = field.text();
    const cache = CACHE_MODES.find((mode) => mode === name) ?? field.refuse('is no cache mode');
    this.#turn = reader.field('turn').integer(0, this.queueSizes.length - 1);
    this.#cache = cache;
  }

  /** Whether a write is finished before it is durable: as chosen, else as set and as 5.2.5.2 and 5.2.6.2 have it. */
  #writesBack(): boolean {
    if (this.#cache !== 'unchosen') return this.#cache === 'writeback';
    if (this.#driver?.negotiated === true && !this.#driver.accepted(VIRTIO_BLK_F.FLUSH)) return false;
    return this.#initialCache === 'writeback';
  }

  /** Takes what waits in the rings, one from each in turn, as long as there may be more under way. */
  #serve(): void {
    const queues = this.#driver?.queues ?? [];
    for (let empty = 0; empty < queues.length;) {
      if (this.#quiesced || this.#underWay.count >= MAXIMUM_UNDER_WAY) return;
      const queue = queues[this.#turn];
      this.#turn = (this.#turn + 1) % queues.length;
      const chain = queue?.pop();
      if (queue === undefined || chain === undefined) empty++;
      else {
        empty = 0;
        this.#begin(queue, chain);
      }
    }
  }

  #begin(queue: Virtqueue, chain: Chain): void {
    const request = parseBlockRequest(chain, {
      sectors: this.#sectors,
      readOnly: this.#store.readOnly,
      discards: this.#store.discardGranularityBytes !== undefined,
    });
    switch (request.kind) {
      case 'unanswerable':
        this.#driver?.fail('a block request has no header or no room for a status');
        break;
      case 'refused':
        this.#driver?.complain(`a block request ${request.reason}`);
        finish(queue, chain, request.status, false);
        break;
      case 'identify': {
        const identity = new Uint8Array(Math.min(request.bytes, IDENTITY_BYTES));
        identity.set(this.#serial.subarray(0, identity.length));
        chain.writable.copyFrom(identity);
        finish(queue, chain, BLOCK_STATUS.OK, identity.length === request.bytes);
        break;
      }
      default:
        this.#carryOut(() => this.#answer(queue, chain, request));
    }
  }

  #carryOut(request: () => Promise<void>): void {
    const broke = (error: unknown): void => this.#driver?.broke(error);
    void this.#underWay.carryOut(request, () => this.#serve(), broke);
  }

  async #answer(queue: Virtqueue, chain: Chain, request: BlockTransfer | BlockFlush | BlockRanges): Promise<void> {
    let status: BlockStatus = BLOCK_STATUS.OK;
    try {
      if (request.kind === 'flush') await this.#store.flush();
      else if ('ranges' in request) await this.#empty(request);
      else await this.#transfer(queue, chain, request);
      const writes = request.kind === 'write' || request.kind === 'write zeroes';
      if (writes && !this.#writesBack()) await this.#store.flush();
    } catch (error) {
      if (error instanceof AssertionFailure) throw error;
      status = BLOCK_STATUS.IOERR;
      this.#log?.log(
        'error',
        this.kind,
        `A ${request.kind} failed: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    finish(queue, chain, status, request.kind === 'read' && status === BLOCK_STATUS.OK);
  }

  async #empty({ kind, ranges }: BlockRanges): Promise<void> {
    for (const { offsetBytes, bytes, unmap } of ranges) {
      if (kind === 'discard') await this.#store.discard(offsetBytes, bytes);
      else await this.#store.writeZeroes(offsetBytes, bytes, unmap);
    }
  }

  /** Moves the data, slice by slice, and stops when nobody waits for it any more. */
  async #transfer(queue: Virtqueue, chain: Chain, request: BlockTransfer): Promise<void> {
    const reading = request.kind === 'read';
    const framing = reading ? 0 : chain.readable.bytes - request.bytes;
    for (let done = 0; done < request.bytes && queue.awaits(chain); done += MAXIMUM_TRANSFER_BYTES) {
      const bytes = Math.min(MAXIMUM_TRANSFER_BYTES, request.bytes - done);
      const at = request.offsetBytes + done;
      if (this.#driver?.waitsForReset === true) {
        const loan = reading ? chain.writable.lend(done, bytes) : chain.readable.lend(framing + done, bytes);
        try {
          await (reading ? this.#store.read(at, loan.views) : this.#store.write(at, loan.views));
        } finally {
          loan.release();
        }
        continue;
      }
      const buffer = new Uint8Array(bytes);
      if (!reading) chain.readable.copyTo(buffer, framing + done);
      await (reading ? this.#store.read(at, [buffer]) : this.#store.write(at, [buffer]));
      if (reading && queue.awaits(chain)) chain.writable.copyFrom(buffer, done);
    }
  }

  /** Over when no guest memory is on loan; buffers of our own need not be waited for. */
  #loansReturned(): Promise<void> | undefined {
    return this.#driver?.waitsForReset === true ? this.#underWay.whenIdle() : undefined;
  }
}

/** Answers a request that is still wanted; `filled` when everything before the status was written too. */
function finish(queue: Virtqueue, chain: Chain, status: BlockStatus, filled: boolean): void {
  if (!queue.awaits(chain)) return;
  const at = statusOffset(chain);
  chain.writable.copyFrom(Uint8Array.of(status), at);
  // `len` counts from the first writable byte: where the data before the status was not written, nothing can be promised (2.7.8.2).
  queue.complete(chain, filled || at === 0 ? at + 1 : 0);
}
