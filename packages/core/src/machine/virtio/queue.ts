/**
 * The split virtqueue (virtio 1.3, 2.7), the device's end of it.
 *
 *     driver writes                              device writes
 *     available ring: heads  --pop-->  Chain  --complete-->  used ring: (head, bytes written)
 *     used_event: "interrupt me there"           avail_event: "notify me there"       (VIRTIO_F_EVENT_IDX, 2.7.7 and 2.7.10)
 *
 * Everything in guest memory is an allegation. What cannot be true makes the owner fail (DEVICE_NEEDS_RESET), and the queue gives
 * nothing any more until it is reset. A chain belongs to the queue from `pop` to `complete`; a reset takes all of them back, so that a
 * completion that comes too late touches nothing.
 */

import { assert, AssertionFailure } from '../../base/assert.ts';
import { hex } from '../../base/numbers.ts';
import type { Saved, SavedReader } from '../../base/saved.ts';
import type { GuestMemory } from '../device.ts';
import type { Chain } from './chain.ts';
import { DESCRIPTOR_BYTES, readChain } from './descriptors.ts';
import { VIRTIO_F } from './features.ts';

/** Entries of the largest queue that the format allows. */
export const QUEUE_SIZE_LIMIT = 32768;

/** `flags` of the available ring: the driver does not want to be interrupted. */
const NO_INTERRUPT = 1;
const RING_HEADER_BYTES = 4;
const USED_ELEMENT_BYTES = 8;

/** The 32-bit halves of the three addresses, by the names that both transports give them. */
export const QUEUE_AREA = {
  descLow: 0,
  descHigh: 1,
  driverLow: 2,
  driverHigh: 3,
  deviceLow: 4,
  deviceHigh: 5,
} as const;
export type QueueAreaWord = (typeof QUEUE_AREA)[keyof typeof QUEUE_AREA];
const AREA_WORDS = 6;

/** Who a queue belongs to. */
export interface QueueOwner {
  readonly memory: GuestMemory;
  /** DRIVER_OK is set and the device has not failed: only then is a ring looked at. */
  readonly live: boolean;
  accepted(feature: number): boolean;
  /** The driver broke a rule of the ring: the device stops until it is reset. */
  fail(reason: string): void;
  /** Sends a used buffer notification. */
  interruptForUsed(): void;
}

/** A chain and how much of its writable part was filled. */
export interface UsedChain {
  readonly chain: Chain;
  readonly written: number;
}

/** Where the three parts are, checked. */
interface Rings {
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

export class Virtqueue {
  readonly index: number;
  readonly maximumSize: number;
  readonly #owner: QueueOwner;

  #size: number;
  readonly #areas = new Uint32Array(AREA_WORDS);
  /** Defined while the queue is enabled. INVARIANT: then `#size` is a power of two and all three parts lie in RAM. */
  #rings: Rings | undefined;
  /** Index of the next entry of the available ring to take, modulo 2^16. */
  #position = 0;
  /** `idx` of the used ring, modulo 2^16. */
  #usedIndex = 0;
  /** Chains that were popped and neither completed nor taken back. */
  readonly #outstanding = new Set<Chain>();

  constructor(index: number, maximumSize: number, owner: QueueOwner) {
    assert(isQueueSize(maximumSize), `${maximumSize} is no size for a queue`);
    this.index = index;
    this.maximumSize = maximumSize;
    this.#size = maximumSize;
    this.#owner = owner;
  }

  // What the transport's registers do.

  get size(): number {
    return this.#size;
  }

  get enabled(): boolean {
    return this.#rings !== undefined;
  }

  /** Any value is taken and judged when the queue is enabled; an enabled queue keeps its size. */
  setSize(size: number): void {
    if (!this.enabled) this.#size = size;
  }

  area(word: QueueAreaWord): number {
    return this.#areas[word] ?? 0;
  }

  setArea(word: QueueAreaWord, value: number): void {
    if (!this.enabled) this.#areas[word] = value;
  }

  /** Looks at size and addresses once and for all. Does nothing to a queue that is enabled already. */
  enable(): void {
    if (this.enabled) return;
    const rings = this.#checkedRings(this.#size, this.#areas);
    if (typeof rings === 'string') this.#owner.fail(`queue ${this.index} ${rings}`);
    else this.#rings = rings;
  }

  /** Back to the default state; chains that are still out are forgotten. */
  reset(): void {
    this.#rings = undefined;
    this.#size = this.maximumSize;
    this.#areas.fill(0);
    this.#position = 0;
    this.#usedIndex = 0;
    this.forget();
  }

  /** Takes all chains back that are under way: the device failed, and what is not answered now never is. */
  forget(): void {
    this.#outstanding.clear();
  }

  // What the device does.

  /** Chains taken and not given back. */
  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** Where the next `pop` looks, modulo 2^16; comparable with `availableIndex`. */
  get position(): number {
    return this.#position;
  }

  /** Up to where the driver has filled the available ring, or `position` when the queue cannot be used. */
  availableIndex(): number {
    return (this.#position + this.#waiting()) & 0xffff;
  }

  /**
   * Takes the next chain; undefined when there is none. Then the driver is asked to notify of the next one, unless `looksAgain`: the owner
   * comes by itself before the driver could wait for it.
   */
  pop(looksAgain = false): Chain | undefined {
    let waiting = this.#waiting();
    const rings = this.#rings;
    if (rings === undefined || !this.#owner.live) return undefined;
    const { memory } = this.#owner;
    if (waiting === 0 && !looksAgain && this.#owner.accepted(VIRTIO_F.EVENT_IDX)) {
      memory.store16(rings.used + RING_HEADER_BYTES + USED_ELEMENT_BYTES * this.#size, this.#position);
      // The driver may have added one before it could see that; it will not notify us of it.
      waiting = this.#waiting();
    }
    if (waiting === 0) return undefined;

    const head = memory.load16(rings.available + RING_HEADER_BYTES + 2 * (this.#position & (this.#size - 1)));
    if (head === undefined) return this.#fail('has an available ring outside RAM');
    const table = { address: rings.descriptors, entries: this.#size };
    const chain = readChain(memory, table, head, this.#owner.accepted(VIRTIO_F.INDIRECT_DESC));
    if (typeof chain === 'string') return this.#fail(`holds a wrong chain: ${chain}`);
    this.#position = (this.#position + 1) & 0xffff;
    this.#outstanding.add(chain);
    return chain;
  }

  /** Puts back the chain that was popped last, so that it is popped again. Does nothing when the queue has forgotten it. */
  undo(chain: Chain): void {
    if (this.#outstanding.delete(chain)) this.#position = (this.#position - 1) & 0xffff;
  }

  /** True while the queue waits for `chain`: false after a reset or a failure. */
  awaits(chain: Chain): boolean {
    return this.#outstanding.has(chain);
  }

  /** Gives the chain back with the first `written` bytes of its writable part filled. Does nothing when nobody waits for it. */
  complete(chain: Chain, written: number): void {
    if (this.#use(chain, written, 0)) this.#publish(1);
  }

  /** Gives several chains back that the driver is to see together, as the buffers of one packet (5.1.6.4). */
  completeTogether(used: readonly UsedChain[]): void {
    let count = 0;
    for (const { chain, written } of used) if (this.#use(chain, written, count)) count++;
    if (count > 0) this.#publish(count);
  }

  /** Fills the entry of the used ring that lies `ahead` of those that the driver can see; false when nobody waits for the chain. */
  #use(chain: Chain, written: number, ahead: number): boolean {
    const rings = this.#rings;
    if (!this.#outstanding.delete(chain) || rings === undefined || !this.#owner.live) return false;
    // Not asserted: the sentence would be made each time.
    if (written > chain.writable.bytes)
      throw new AssertionFailure(`${written} bytes were written to a chain with room for ${chain.writable.bytes}`);
    const { memory } = this.#owner;
    const at = this.#usedIndex + ahead;
    const element = rings.used + RING_HEADER_BYTES + USED_ELEMENT_BYTES * (at & (this.#size - 1));
    memory.store32(element, chain.head);
    memory.store32(element + 4, written);
    return true;
  }

  /** Shows the driver the next `count` entries of the used ring. */
  #publish(count: number): void {
    const rings = this.#rings;
    if (rings === undefined) return;
    const before = this.#usedIndex;
    this.#usedIndex = (before + count) & 0xffff;
    this.#owner.memory.store16(rings.used + 2, this.#usedIndex);
    if (this.#wantsInterrupt(rings, before, count)) this.#owner.interruptForUsed();
  }

  /** Whether the driver wants to hear of one of the `count` entries from `index` of the used ring on (2.7.7.2). */
  #wantsInterrupt(rings: Rings, index: number, count: number): boolean {
    const { memory } = this.#owner;
    if (this.#owner.accepted(VIRTIO_F.EVENT_IDX)) {
      const usedEvent = memory.load16(rings.available + RING_HEADER_BYTES + 2 * this.#size) ?? 0;
      return ((usedEvent - index) & 0xffff) < count;
    }
    return ((memory.load16(rings.available) ?? 0) & NO_INTERRUPT) === 0;
  }

  /** How many entries of the available ring wait; 0 when the queue cannot be used. */
  #waiting(): number {
    const rings = this.#rings;
    if (rings === undefined || !this.#owner.live) return 0;
    const index = this.#owner.memory.load16(rings.available + 2);
    const waiting = ((index ?? 0) - this.#position) & 0xffff;
    if (index !== undefined && waiting <= this.#size) return waiting;
    this.#fail(`has an available index that ran ${waiting} ahead, more than its size of ${this.#size}`);
    return 0;
  }

  #fail(problem: string): undefined {
    this.#owner.fail(`queue ${this.index} ${problem}`);
  }

  /** The three addresses when size and places are legal (2.7), else what is wrong with them. */
  #checkedRings(size: number, areas: Uint32Array): Rings | string {
    if (!isQueueSize(size) || size > this.maximumSize)
      return `cannot have ${size} entries (a power of two, at most ${this.maximumSize})`;
    const address = (word: number): number => (areas[word + 1] ?? 0) * 2 ** 32 + (areas[word] ?? 0);
    const rings = {
      descriptors: address(QUEUE_AREA.descLow),
      available: address(QUEUE_AREA.driverLow),
      used: address(QUEUE_AREA.deviceLow),
    };
    const places = [
      { what: 'descriptor table', at: rings.descriptors, alignment: 16, bytes: DESCRIPTOR_BYTES * size },
      { what: 'available ring', at: rings.available, alignment: 2, bytes: RING_HEADER_BYTES + 2 * size + 2 },
      {
        what: 'used ring',
        at: rings.used,
        alignment: 4,
        bytes: RING_HEADER_BYTES + USED_ELEMENT_BYTES * size + 2,
        forWrite: true,
      },
    ];
    for (const { what, at, alignment, bytes, forWrite } of places) {
      if (at % alignment !== 0) return `has its ${what} at ${hex(at)}, which is not a multiple of ${alignment}`;
      if (!Number.isSafeInteger(at) || !this.#owner.memory.contains(at, bytes, forWrite))
        return `has its ${what} at ${hex(at)}, outside RAM`;
    }
    return rings;
  }

  save(): Saved {
    assert(this.#outstanding.size === 0, `queue ${this.index} was saved with requests under way`);
    return {
      size: this.#size,
      areas: [...this.#areas],
      enabled: this.enabled,
      position: this.#position,
      usedIndex: this.#usedIndex,
    };
  }

  /** Checks what `save` gave, against RAM too, and returns what takes it over; throws SavedStateError. */
  restorer(reader: SavedReader): () => void {
    const size = reader.field('size').u32();
    const areas = Uint32Array.from(reader.field('areas').list(AREA_WORDS), (word) => word.u32());
    const enabled = reader.field('enabled').boolean();
    const position = reader.field('position').integer(0, 0xffff);
    const usedIndex = reader.field('usedIndex').integer(0, 0xffff);
    const rings = enabled ? this.#checkedRings(size, areas) : undefined;
    if (typeof rings === 'string') return reader.refuse(rings);
    return () => {
      this.reset();
      this.#size = size;
      this.#areas.set(areas);
      this.#rings = rings;
      this.#position = position;
      this.#usedIndex = usedIndex;
    };
  }
}

function isQueueSize(size: number): boolean {
  return size > 0 && size <= QUEUE_SIZE_LIMIT && (size & (size - 1)) === 0;
}
