/**
 * The traditional memory balloon (virtio 1.3, 5.5): memory that the guest lends to the host, and hears of what the guest has free anyway.
 *
 *     inflateq    pages that the guest gave away                  -> their frames go back (GuestMemory.forget)
 *     deflateq    pages that it takes again                       -> nothing to do: a page that is touched has a frame
 *     statsq      what the guest says of its memory, when asked
 *     hintq       pages that were free a moment ago, while the host asks for them (who migrates need not send them)
 *     reportingq  pages that are free and stay so until answered  -> their frames go back
 *
 * How large the balloon is to be is the host's wish (`setTarget`); how large it is the guest says. With DEFLATE_ON_OOM the guest takes pages back before
 * its kernel kills a process, so a wish that is too large costs it time and never a program.
 *
 * The queues have fixed numbers as long as all five are offered: Linux counts the ones it uses, and uses all it is offered.
 */

import { PAGE_SIZE } from '../../base/numbers.ts';
import type { Saved } from '../../base/saved.ts';
import { SavedReader } from '../../base/saved.ts';
import type { AccessSize, MemoryRange } from '../device.ts';
import type { Chain } from './chain.ts';
import type { Virtqueue } from './queue.ts';
import { VIRTIO_ID, readLittleEndian } from './virtio-device.ts';
import type { VirtioDevice, VirtioDriver } from './virtio-device.ts';

/** Feature bits (5.5.3). */
export const VIRTIO_BALLOON_F = {
  MUST_TELL_HOST: 0,
  STATS_VQ: 1,
  DEFLATE_ON_OOM: 2,
  FREE_PAGE_HINT: 3,
  PAGE_POISON: 4,
  PAGE_REPORTING: 5,
} as const;

export const BALLOON_QUEUE = { INFLATE: 0, DEFLATE: 1, STATS: 2, HINT: 3, REPORTING: 4 } as const;

/** Offsets in the configuration (5.5.4). */
const CONFIGURATION = { numPages: 0, actual: 4, hintCommand: 8, poison: 12, end: 16 } as const;

/** `free_page_hint_cmd_id` (5.5.4): these two, or the number of a round of hints. */
const HINT_COMMAND = { STOP: 0, DONE: 1, FIRST_ROUND: 2 } as const;

/** As many requests wait at most as with QEMU. */
const QUEUE_SIZE = 128;
/** A balloon page is 4 KiB, whatever pages the guest has (5.5.6). */
const PFN_BYTES = 4;
/** Pages of one request to the balloon; Linux sends 256. More than this is a driver that is up to something. */
export const MAXIMUM_BALLOON_PAGES = 4096;
/** A statistic is a tag of two bytes and a value of eight (5.5.6.3). */
const STATISTIC_BYTES = 10;
const MAXIMUM_STATISTICS = 64;

/** Tags of statistics (5.5.6.4), by number. Those that are not here are skipped. */
const STATISTICS = [
  'swappedInBytes',
  'swappedOutBytes',
  'majorFaults',
  'minorFaults',
  'freeBytes',
  'totalBytes',
  'availableBytes',
  'cachesBytes',
  'hugePagesAllocated',
  'hugePagesFailed',
] as const;

/** What a guest says of its memory. Its word, to be taken as such. */
export type BalloonStatistics = Readonly<Partial<Record<(typeof STATISTICS)[number], number>>>;

/** Free pages that the guest told of in a round of hints. */
export type FreePages = (address: number, sizeBytes: number) => void;

export interface BalloonState {
  /** What the host asked for, and what the guest says it has given, in bytes. */
  readonly targetBytes: number;
  readonly actualBytes: number;
  /** Bytes whose frames went back because the guest reported them as free; they count each time. */
  readonly reportedBytes: number;
}

export class VirtioBalloon implements VirtioDevice {
  readonly kind = 'virtio-balloon';
  readonly deviceType = VIRTIO_ID.BALLOON;
  readonly features = Object.values(VIRTIO_BALLOON_F);
  readonly queueSizes = Object.values(BALLOON_QUEUE).map(() => QUEUE_SIZE);
  #driver: VirtioDriver | undefined;
  #targetPages = 0;
  #actualPages = 0;
  #poison = 0;
  #reportedBytes = 0;
  /** The round of hints that is on, or STOP or DONE. */
  #hintCommand: number = HINT_COMMAND.STOP;
  /** Whether the guest has begun with the round that is on. */
  #hinting = false;
  #nextRound: number = HINT_COMMAND.FIRST_ROUND;
  #freePages: FreePages | undefined;
  #statistics: BalloonStatistics = {};
  /** The question for fresh statistics that is under way. */
  #question: PromiseWithResolvers<BalloonStatistics> | undefined;
  #quiesced = false;

  get state(): BalloonState {
    return {
      targetBytes: this.#targetPages * PAGE_SIZE,
      actualBytes: this.#actualPages * PAGE_SIZE,
      reportedBytes: this.#reportedBytes,
    };
  }

  /** Asks the guest to have given so many bytes away, rounded down to whole pages. It does so in its own time, or never. */
  setTarget(bytes: number): void {
    const pages = Math.min(0xffff_ffff, Math.max(0, Math.floor(bytes / PAGE_SIZE)));
    if (pages === this.#targetPages) return;
    this.#targetPages = pages;
    this.#driver?.configurationChanged();
  }

  /**
   * What the guest says of its memory now. Undefined when it has no driver that says so; otherwise a promise that settles when the guest
   * answers, which is its own affair.
   */
  statistics(): Promise<BalloonStatistics> | undefined {
    if (this.#driver?.live !== true || !this.#driver.accepted(VIRTIO_BALLOON_F.STATS_VQ)) return undefined;
    // Whoever asks while a question is under way gets the same answer.
    if (this.#question) return this.#question.promise;
    this.#question = Promise.withResolvers();
    const { promise } = this.#question;
    if (!this.#quiesced) this.#askForStatistics();
    return promise;
  }

  /** What it said last, without asking. */
  get lastStatistics(): BalloonStatistics {
    return this.#statistics;
  }

  /**
   * Begins a round of hints: the guest tells of the pages that it has free, each of which may be in use again the moment after. False when
   * it has no driver that does. `endHints` ends the round; the guest keeps the pages it told of until then.
   */
  beginHints(freePages: FreePages): boolean {
    if (this.#driver?.accepted(VIRTIO_BALLOON_F.FREE_PAGE_HINT) !== true) return false;
    this.#freePages = freePages;
    this.#hinting = false;
    this.#hintCommand = this.#nextRound;
    this.#nextRound = this.#nextRound === 0xffff_ffff ? HINT_COMMAND.FIRST_ROUND : this.#nextRound + 1;
    this.#driver.configurationChanged();
    return true;
  }

  /** Ends the round: the guest may use all of its pages again. */
  endHints(): void {
    this.#freePages = undefined;
    this.#hinting = false;
    if (this.#hintCommand === HINT_COMMAND.DONE || this.#hintCommand === HINT_COMMAND.STOP) return;
    this.#hintCommand = HINT_COMMAND.DONE;
    this.#driver?.configurationChanged();
  }

  attach(driver: VirtioDriver): void {
    this.#driver = driver;
  }

  activate(): void {
    this.#serveAll();
  }

  notify(queueIndex: number): void {
    this.#serve(queueIndex);
  }

  readConfiguration(offset: number, size: AccessSize): number {
    const bytes = new Uint8Array(CONFIGURATION.end);
    const fields = new DataView(bytes.buffer);
    fields.setUint32(CONFIGURATION.numPages, this.#targetPages, true);
    fields.setUint32(CONFIGURATION.actual, this.#actualPages, true);
    fields.setUint32(CONFIGURATION.hintCommand, this.#hintCommand, true);
    fields.setUint32(CONFIGURATION.poison, this.#poison, true);
    return readLittleEndian(bytes, offset, size);
  }

  writeConfiguration(offset: number, size: AccessSize, value: number): void {
    if (offset === CONFIGURATION.actual && size === 4) this.#actualPages = value;
    else if (offset === CONFIGURATION.poison && size === 4) this.#poison = value;
    else this.#driver?.complain('the driver wrote to a part of the configuration that is read-only');
  }

  /** The guest begins anew and has all of its memory; the host's wish stays. */
  reset(): undefined {
    this.#actualPages = 0;
    this.#poison = 0;
    this.#reportedBytes = 0;
    this.#hintCommand = HINT_COMMAND.STOP;
    this.#nextRound = HINT_COMMAND.FIRST_ROUND;
    this.#hinting = false;
    this.#freePages = undefined;
    this.#statistics = {};
    this.#answer();
  }

  quiesce(): Promise<void> {
    this.#quiesced = true;
    return Promise.resolve();
  }

  resume(): void {
    this.#quiesced = false;
    // First, or the numbers that wait would be taken for the answer.
    if (this.#question) this.#askForStatistics();
    this.#serveAll();
  }

  save(): Saved {
    // The wish is the host's: who restores the machine has its own.
    return {
      actualPages: this.#actualPages,
      poison: this.#poison,
      hintCommand: this.#hintCommand,
      nextRound: this.#nextRound,
    };
  }

  restore(state: Saved): void {
    const reader = new SavedReader(state, this.kind);
    const actualPages = reader.field('actualPages').u32();
    const poison = reader.field('poison').u32();
    const hintCommand = reader.field('hintCommand').u32();
    const nextRound = reader.field('nextRound').integer(HINT_COMMAND.FIRST_ROUND, 0xffff_ffff);
    this.reset();
    this.#actualPages = actualPages;
    this.#poison = poison;
    this.#hintCommand = hintCommand;
    this.#nextRound = nextRound;
  }

  #queue(index: number): Virtqueue | undefined {
    return this.#driver?.queues[index];
  }

  #serveAll(): void {
    for (const index of this.queueSizes.keys()) this.#serve(index);
  }

  #serve(index: number): void {
    const queue = this.#queue(index);
    if (queue === undefined || this.#quiesced) return;
    if (index === BALLOON_QUEUE.STATS) this.#lookAtStatistics(queue);
    else
      for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
        if (index === BALLOON_QUEUE.INFLATE) this.#inflate(chain);
        else if (index === BALLOON_QUEUE.HINT) this.#hint(chain);
        else if (index === BALLOON_QUEUE.REPORTING) this.#reported(chain);
        queue.complete(chain, 0);
      }
  }

  /** Page frame numbers that the guest gave away. One that is none is counted, and the others go. */
  #inflate(chain: Chain): void {
    const { bytes } = chain.readable;
    if (bytes % PFN_BYTES !== 0 || bytes > MAXIMUM_BALLOON_PAGES * PFN_BYTES) {
      this.#driver?.complain(`the driver sent ${bytes} bytes of page numbers for its balloon`);
      return;
    }
    const numbers = new Uint8Array(bytes);
    chain.readable.copyTo(numbers);
    const view = new DataView(numbers.buffer);
    // A page of which somebody knows what its bytes have to be later keeps them (5.5.3, PAGE_POISON).
    this.#forget(
      Array.from({ length: bytes / PFN_BYTES }, (_, index) => ({
        address: view.getUint32(PFN_BYTES * index, true) * PAGE_SIZE,
        size: PAGE_SIZE,
      })),
    );
  }

  /**
   * All that the guest has free may be in one report, and is nobody's in it until this is done: the less time that takes, the less is a process of its
   * told in the meantime that there is no memory.
   */
  #reported(chain: Chain): void {
    // The page must read as its poison afterwards (5.5.6.7.1), and ours would read as zero.
    if (this.#driver?.accepted(VIRTIO_BALLOON_F.PAGE_POISON) === true && this.#poison !== 0) return;
    const ranges: MemoryRange[] = [];
    for (const { address, size } of chain.writable.segments) {
      this.#reportedBytes += size;
      // Whole pages of what it says.
      const first = Math.ceil(address / PAGE_SIZE);
      const count = Math.floor((address + size) / PAGE_SIZE) - first;
      if (count > 0) ranges.push({ address: first * PAGE_SIZE, size: count * PAGE_SIZE });
    }
    this.#forget(ranges);
  }

  #forget(ranges: readonly MemoryRange[]): void {
    const { memory } = this.#driver ?? {};
    const known = ranges.filter(({ address, size }) => memory?.contains(address, size, true));
    if (known.length < ranges.length) this.#driver?.complain('the driver gave a page away that is no memory');
    if (known.length > 0) memory?.forget(known);
  }

  /** Device-readable: the number of the round that begins, or STOP. Device-writable: free pages (5.5.6.5). */
  #hint(chain: Chain): void {
    if (chain.readable.bytes >= 4) {
      const word = new Uint8Array(4);
      chain.readable.copyTo(word);
      const command = new DataView(word.buffer).getUint32(0, true);
      this.#hinting = command === this.#hintCommand && command >= HINT_COMMAND.FIRST_ROUND;
      return;
    }
    if (!this.#hinting) return;
    for (const { address, size } of chain.writable.segments) this.#freePages?.(address, size);
  }

  /** Reads what waits in the statistics queue and leaves it there: giving it back asks for the next. */
  #lookAtStatistics(queue: Virtqueue): void {
    const chain = queue.pop();
    if (chain === undefined) return;
    const bytes = new Uint8Array(Math.min(chain.readable.bytes, MAXIMUM_STATISTICS * STATISTIC_BYTES));
    chain.readable.copyTo(bytes);
    queue.undo(chain);
    const view = new DataView(bytes.buffer);
    const statistics: Partial<Record<(typeof STATISTICS)[number], number>> = {};
    for (let at = 0; at + STATISTIC_BYTES <= bytes.length; at += STATISTIC_BYTES) {
      const name = STATISTICS[view.getUint16(at, true)];
      const value = view.getUint32(at + 2, true) + view.getUint32(at + 6, true) * 2 ** 32;
      if (name !== undefined && Number.isSafeInteger(value)) statistics[name] = value;
    }
    this.#statistics = statistics;
    this.#answer();
  }

  /** Giving the buffer back is the question (5.5.6.3). */
  #askForStatistics(): void {
    const queue = this.#queue(BALLOON_QUEUE.STATS);
    const chain = queue?.pop();
    // Without a buffer the guest is at it already, and its answer comes.
    if (queue === undefined || chain === undefined) return;
    queue.complete(chain, 0);
    // A look at an empty queue is what asks to be notified of the next buffer.
    this.#lookAtStatistics(queue);
  }

  #answer(): void {
    this.#question?.resolve(this.#statistics);
    this.#question = undefined;
  }
}
